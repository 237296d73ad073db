// Package resources serves Microsoft.Resources: subscriptions, tenants,
// locations, providers, resource groups, the list of what is in them, and tags
// of both. It keeps nothing; groups and operations are behind the port Store,
// other resources behind the functions of API.
package resources
