// Package resources serves Microsoft.Resources: subscriptions, tenants,
// locations, providers and resource groups with their tags. It keeps nothing;
// groups and operations are behind the port Store.
package resources
