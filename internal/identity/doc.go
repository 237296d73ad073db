// Package identity keeps who may call: principals, their secrets and roles,
// the key that signs tokens, and the certificates of the server. It answers
// token requests in the style of ADFS, which Azure's tools accept without
// asking Microsoft first. State is files of mode 0600 in one directory; secrets
// are kept as salted hashes and never logged.
package identity
