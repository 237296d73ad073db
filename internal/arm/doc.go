// Package arm speaks the Resource Manager protocol for the providers: it
// routes, authenticates, authorises, checks api-versions, renders errors,
// polling headers, ETags and pages. What a resource is stays with the
// providers; who may do what stays with package access, behind two ports.
package arm
