package vmss

import "slices"

// SetProvisioning derives the provisioning state of a scale set from what is
// under way and, when nothing is, from how its newest PUT ended: a failure stays
// until the next PUT succeeds. open are the set's operations without outcome;
// last is the outcome of its newest PUT, nil if there is none.
func SetProvisioning(set ScaleSet, open []Operation, last *Outcome) ProvisioningState {
	switch {
	case set.Deleting:
		return Deleting
	case slices.ContainsFunc(open, func(op Operation) bool { return op.CreatesSet }):
		return Creating
	case len(open) > 0:
		return Updating
	case last != nil && last.Status == OperationFailed:
		return Failed
	}
	return Succeeded
}

// FailureOfSet returns why a set whose newest PUT ended so is Failed, or nil.
func FailureOfSet(last *Outcome) *Failure {
	if last == nil || last.Status != OperationFailed || last.Error == nil {
		return nil
	}
	return &Failure{Code: last.Error.Code, Message: last.Error.Message, Since: last.Finished, Attempts: 1, Final: true}
}
