package server

import (
	"encoding/json"
	"maps"
	"os"
	"slices"

	"github.com/muster-vm/muster/internal/resource"
	"github.com/muster-vm/muster/internal/vmss"
)

// priceFile is the shape of a price file, YAML or JSON.
type priceFile struct {
	Currency       string                 `json:"currency"`
	PerHour        map[string]json.Number `json:"perHour"` // by VM size
	DiskPerGBMonth *json.Number           `json:"diskPerGBMonth"`
}

// loadPrices reads the price file that the config names; nil for none. Errors
// are Invalid and name the file, the place in it and the remedy.
func loadPrices(file string) (*vmss.Prices, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // no prices, and nothing wrong
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, resource.Errorf(resource.Invalid, "InvalidConfig",
			"The price file cannot be read: %v. Name another as prices in the config, or none.", err).At("prices")
	}
	var f priceFile
	if err := readYAML(raw, &f); err != nil {
		return nil, resource.Errorf(resource.Invalid, "InvalidConfig",
			"The price file %s is not valid: %v. It has the keys currency, perHour and diskPerGBMonth.", file, err).At("prices")
	}
	p, problems := f.parse()
	if problems = append(problems, p.Check()...); len(problems) > 0 {
		invalid := resource.Errorf(resource.Invalid, "InvalidConfig", "The price file %s is not valid:", file).At("prices")
		invalid.Details = problems
		return nil, invalid
	}
	return &p, nil
}

func (f priceFile) parse() (vmss.Prices, []*resource.Error) {
	p := vmss.Prices{Currency: f.Currency, Hour: map[string]vmss.Money{}}
	var problems []*resource.Error
	read := func(place string, n json.Number) (m vmss.Money) {
		m, err := vmss.ParseMoney(n.String())
		for _, e := range problemsOf(err) {
			problems = append(problems, e.At(place))
		}
		return m
	}
	for _, name := range slices.Sorted(maps.Keys(f.PerHour)) {
		p.Hour[name] = read("perHour."+name, f.PerHour[name])
	}
	if f.DiskPerGBMonth != nil {
		p.DiskGBMonth = read("diskPerGBMonth", *f.DiskPerGBMonth)
	}
	return p, problems
}
