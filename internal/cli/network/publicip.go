package network

import (
	"context"
	"strings"
)

func createPublic(ctx context.Context, c call) (any, error) {
	body, err := publicBody(ctx, c, c.text("allocation-method"))
	if err != nil {
		return nil, err
	}
	properties, _ := body["properties"].(object)
	if minutes := c.number("idle-timeout"); minutes != nil {
		properties["idleTimeoutInMinutes"] = minutes
	}
	if label := c.text("dns-name"); label != "" {
		properties["dnsSettings"] = object{"domainNameLabel": label}
	}
	if zones := c.words("zone"); len(zones) > 0 {
		body["zones"] = zones
	}
	return c.Put(ctx, publics.path(c, c.Name), version, body, named("publicIp"))
}

// publicBody is a public address of the SKU that the command names. How it is
// given out is the SKU's to say unless the user does.
func publicBody(ctx context.Context, c call, allocation string) (object, error) {
	sku := c.text("sku")
	if allocation == "" {
		allocation = "Dynamic"
		if strings.EqualFold(sku, "Standard") {
			allocation = "Static"
		}
	}
	body, err := envelope(ctx, c, object{"publicIPAllocationMethod": allocation})
	if err != nil {
		return nil, err
	}
	body["sku"] = object{"name": sku}
	return body, nil
}

func createGateway(ctx context.Context, c call) (any, error) {
	var addresses []any
	for _, name := range c.words("public-ip-addresses") {
		addresses = append(addresses, publics.ref(c, name))
	}
	body, err := envelope(ctx, c, members("publicIpAddresses", addresses, "idleTimeoutInMinutes", c.number("idle-timeout")))
	if err != nil {
		return nil, err
	}
	body["sku"] = object{"name": "Standard"}
	if zones := c.words("zone"); len(zones) > 0 {
		body["zones"] = zones
	}
	return c.Put(ctx, gateways.path(c, c.Name), version, body, plain)
}
