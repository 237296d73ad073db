package output

import (
	"encoding/json"
	"strconv"
	"strings"
)

// MetricRows makes a row of every grain of an answer of Microsoft.Insights, as
// az's table has them. It is for Printer.Rows.
func MetricRows(result any) (rows []any, columns []string) {
	raw, err := json.Marshal(result)
	var answer struct {
		Value []struct {
			Name   struct{ LocalizedValue string }
			Series []struct {
				Dimensions []struct {
					Name  struct{ LocalizedValue string }
					Value string
				} `json:"metadatavalues"`
				Data []map[string]any
			} `json:"timeseries"`
		}
	}
	if err == nil {
		err = json.Unmarshal(raw, &answer)
	}
	if err != nil {
		return nil, nil
	}
	columns = []string{"Timestamp", "Name"}
	for _, metric := range answer.Value {
		for _, series := range metric.Series {
			for _, grain := range series.Data {
				row := map[string]any{"Name": metric.Name.LocalizedValue}
				for _, d := range series.Dimensions {
					row[d.Name.LocalizedValue] = d.Value
					columns = append(columns, d.Name.LocalizedValue)
				}
				for name, value := range grain {
					row[name] = decimal(value)
				}
				row["Timestamp"] = strings.TrimSuffix(strings.Replace(grainTime(grain), "T", " ", 1), "Z")
				delete(row, "timeStamp")
				rows = append(rows, row)
			}
		}
	}
	return rows, columns
}

// decimal words a number as Python words one that is not an integer.
func decimal(value any) any {
	f, ok := value.(float64)
	if !ok {
		return value
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func grainTime(grain map[string]any) string {
	at, _ := grain["timeStamp"].(string)
	return strings.TrimSuffix(at, "+00:00")
}
