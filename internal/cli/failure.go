package cli

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/muster-vm/muster/internal/cli/card"
	"github.com/muster-vm/muster/internal/cli/output"
)

// Exit codes are az's.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3
)

// CommandError is how a command failed: what it tells, and the exit code.
type CommandError struct {
	Text string
	Code int
}

// Error implements error.
func (f *CommandError) Error() string { return f.Text }

// problem is a failure that says what to do next.
func problem(format string, args ...any) error {
	return &CommandError{fmt.Sprintf(format, args...), exitFailed}
}

// usage is a failure of whoever typed the command.
func usage(format string, args ...any) error {
	return &CommandError{fmt.Sprintf(format, args...), exitUsage}
}

// Fail prints an error of any command, in red on a terminal, and returns the
// exit code. Errors that are not of this package are worded by otherwise.
func Fail(w io.Writer, err error, otherwise func(error) string) int {
	if f, ok := errors.AsType[*CommandError](err); ok {
		if f.Text == "" {
			return f.Code // somebody else has told
		}
		paint(w, "\033[31m", "ERROR: "+f.Text)
		return f.Code
	}
	if strings.HasPrefix(err.Error(), "unknown command") {
		paint(w, "\033[31m", "ERROR: "+err.Error())
		return exitUsage
	}
	fmt.Fprintln(w, "muster:", otherwise(err))
	return exitFailed
}

func paint(w io.Writer, colour, text string) {
	if output.Colours(w) {
		text = colour + text + "\033[0m"
	}
	fmt.Fprintln(w, text)
}

// explain words an error as az does and adds what to do next.
func (c *call) explain(err error) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*CommandError](err); ok {
		return f
	}
	if e, ok := errors.AsType[*output.ArgumentError](err); ok {
		return usage("%s", e.Text)
	}
	if e, ok := errors.AsType[*card.AmbiguousError](err); ok {
		return usage("%s", e.Text)
	}
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return c.explainAnswer(answer)
	}
	if e, ok := errors.AsType[*loginError](err); ok {
		return problem("%s\nThe server does not accept these credentials. Log in again with `muster login`.", e.text)
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return problem("%v\nGive `muster login` the server's CA with --ca FILE; it is ca.pem in the server's state directory.", e)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return problem("%v\nIs the server running there? `muster account show` names the endpoint; `muster login --endpoint URL` changes it.", e)
	}
	return problem("%v", err)
}

// wireError is the body of a refusal.
type wireError struct {
	Code, Message, Target string
	Details               []wireError
}

func (c *call) explainAnswer(answer *azcore.ResponseError) error {
	e := wireError{Code: answer.ErrorCode}
	if res := answer.RawResponse; res != nil {
		if raw, err := runtime.Payload(res); err == nil {
			body := struct{ Error *wireError }{&e}
			_ = json.Unmarshal(raw, &body)
		}
	}
	code := exitFailed
	if answer.StatusCode == http.StatusNotFound {
		code = exitNotFound
	}
	if e.Code == "" {
		e.Code, e.Message = http.StatusText(answer.StatusCode), "Operation returned an invalid status '"+http.StatusText(answer.StatusCode)+"'"
	}
	lines := []string{fmt.Sprintf("(%s) %s", e.Code, e.Message), "Code: " + e.Code, "Message: " + e.Message}
	if e.Target != "" {
		lines = append(lines, "Target: "+e.Target)
	}
	if len(c.failures) > 0 {
		e.Details = nil // they are of the same instances, without their names
	}
	if len(e.Details) > 0 {
		lines = append(lines, "Exception Details:")
	}
	for _, d := range e.Details {
		lines = append(lines, fmt.Sprintf("\t(%s) %s", d.Code, d.Message), "\tCode: "+d.Code, "\tMessage: "+d.Message)
		if d.Target != "" {
			lines = append(lines, "\tTarget: "+d.Target)
		}
	}
	if len(c.failures) > 0 {
		lines = append(lines, "Failed instances:")
	}
	for _, f := range c.failures {
		lines = append(lines, "\t"+f)
	}
	if next := c.next(e.Code, e.Target); next != "" {
		lines = append(lines, "Next: "+next)
	}
	return &CommandError{strings.Join(lines, "\n"), code}
}

// next is the command that helps after an error of a code, or "".
func (c *call) next(code, target string) string {
	switch code {
	case "ResourceGroupNotFound":
		return "muster group list -o table"
	case "ResourceNotFound", "NotFound", "InstanceNotFound":
		if c.Name != "" && len(c.ids()) > 0 && c.Group != "" {
			return fmt.Sprintf("muster vmss list-instances -g %s -n %s -o table", c.Group, c.Name)
		}
		if c.explainable {
			return "muster vmss list -g " + c.Group + " -o table"
		}
		return "muster resource list -o table"
	case "ImageNotFound", "PlatformImageNotFound":
		return "muster vm image list --all -o table"
	case "LocationNotAvailableForResourceType":
		return "muster group show -n " + c.Group + " --query location"
	case "QuotaExceeded":
		return "muster vm list-usage -l " + orPlaceholder(c.Location, "LOCATION") + " -o table"
	case "AuthorizationFailed":
		return "muster account show"
	case "InvalidParameter":
		if strings.HasSuffix(target, "sku.name") || target == "sku.name" {
			return "muster vm list-sizes -l " + orPlaceholder(c.Location, "LOCATION") + " -o table"
		}
		return ""
	}
	if target == "metricnames" {
		return "muster monitor metrics list-definitions --resource ID -o table"
	}
	if c.Name != "" && c.explainable {
		return fmt.Sprintf("muster vmss explain -g %s -n %s -o table", c.Group, c.Name)
	}
	return ""
}

func orPlaceholder(s, placeholder string) string {
	if s == "" {
		return placeholder
	}
	return s
}
