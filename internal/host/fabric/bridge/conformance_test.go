package bridge

import (
	"testing"

	"github.com/muster-vm/muster/internal/host/fabric/fabrictest"
)

func TestConformance(t *testing.T) {
	fabrictest.Run(t, func(t *testing.T) fabrictest.Fabric { return openFabric(t, Options{Name: "a"}) })
}
