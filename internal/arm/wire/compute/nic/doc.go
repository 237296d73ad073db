// Package nic is the JSON of network cards. [Read] reads a scale set's
// networkProfile; [References] lists what a model names of Microsoft.Network, and
// [Reference.In], [CheckBalancers] say whether what is there suits it. A [Renderer]
// writes the network interfaces of instances, their IP configurations and public
// addresses: they are seen below the scale set only. It is pure.
package nic
