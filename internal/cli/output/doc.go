// Package output prints what commands answer as az prints it: its shapes of
// resources, its formats, its queries. It knows no command and no server.
package output
