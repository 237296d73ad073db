package insights

// Definition says what a metric is and how it can be asked for.
type Definition struct {
	ID                string         `json:"id"`
	ResourceID        string         `json:"resourceId"`
	Namespace         string         `json:"namespace"`
	Category          string         `json:"category,omitempty"`
	Name              Name           `json:"name"`
	Description       string         `json:"displayDescription"`
	DimensionRequired bool           `json:"isDimensionRequired"`
	Unit              string         `json:"unit"`
	Primary           string         `json:"primaryAggregationType"`
	Supported         []string       `json:"supportedAggregationTypes"`
	Availabilities    []Availability `json:"metricAvailabilities"`
	Dimensions        []Name         `json:"dimensions,omitempty"`
}

// Availability is a grain and how long it is kept.
type Availability struct {
	Grain     string `json:"timeGrain"`
	Retention string `json:"retention"`
}

// Namespace is a namespace of metrics.
type Namespace struct {
	ID             string              `json:"id"`
	Name           string              `json:"name"`
	Type           string              `json:"type"`
	Classification string              `json:"classification"`
	Properties     NamespaceProperties `json:"properties"`
}

// NamespaceProperties names the namespace as questions for metrics do.
type NamespaceProperties struct {
	Name string `json:"metricNamespaceName"`
}

// List is a list without pages.
type List[T any] struct {
	Value []T `json:"value"`
}
