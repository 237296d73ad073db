package network

import (
	"context"
	"fmt"
	"strings"

	"github.com/muster-vm/muster/internal/cli"
)

// exitDenied is the exit code for a flow that may not begin: none of those for
// commands that failed.
const exitDenied = 4

func explainCommand() cli.Command {
	cmd := command("explain", "Say which rule decides whether one may call the other", "resource-group! vnet-name! from! to! call-port call-protocol", explain)
	cmd.Rows, cmd.Text = stepColumns.stepRows, story
	return cmd
}

func explain(ctx context.Context, c call) (any, error) {
	var answer object
	body := members("from", c.text("from"), "to", c.text("to"), "port", c.number("port"), "protocol", title(c.text("protocol")))
	err := c.Post(ctx, vnets.path(c, c.text("vnet-name"))+"/providers/Muster.Fleet/explainPath", "2026-11-01", body, &answer)
	if err != nil {
		return nil, err
	}
	if answer["allowed"] == true {
		return answer, nil
	}
	return cli.Answer{Value: answer, Code: exitDenied}, nil
}

var stepColumns = columns{member("Stage", "stage"), member("Access", "access"), target("SecurityGroup", "securityGroup"), member("Rule", "rule"), member("Reason", "reason")}

// stepRows makes a row of each step.
func (cs columns) stepRows(result any) ([]any, []string) {
	return cs.rows(items(result, "steps"))
}

// story words an answer for people.
func story(result any) string {
	var b strings.Builder
	verdict := "denied"
	if at(result, "allowed") == true {
		verdict = "allowed"
	}
	fmt.Fprintf(&b, "%s -> %s is %s\n", word(result, "from"), word(result, "to"), verdict)
	for _, step := range items(result, "steps") {
		by := ""
		if rule := word(step, "rule"); rule != "" {
			by = "rule " + rule
		}
		if group := word(step, "securityGroup"); group != "" {
			by += " of " + last(group)
		}
		if by != "" {
			by += ": "
		}
		fmt.Fprintf(&b, "  %-8s  %-5s  %s%s\n", word(step, "stage"), strings.ToLower(word(step, "access")), by, word(step, "reason"))
	}
	if to := word(result, "destination"); to != "" {
		source := word(result, "sourceSeen")
		if source == "" {
			source = "the host's own address"
		}
		fmt.Fprintf(&b, "%s sees it come from %s\n", to, source)
	}
	return b.String()
}
