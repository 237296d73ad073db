package disk

// maxTries is how many attempts that may be bad luck are made before a disk
// counts as failed.
const maxTries = 3

// The provisioning states, as Azure words them.
const (
	Creating  = "Creating"
	Updating  = "Updating"
	Succeeded = "Succeeded"
	Failed    = "Failed"
	Deleting  = "Deleting"
)

// Counts reports whether the failure makes a disk count as failed, and not merely
// as late.
func (f *Failure) Counts() bool {
	return f != nil && (f.RetryAt.IsZero() || f.Attempts >= maxTries)
}

// Provisioning derives the provisioning state from what is wanted and what was
// made; of a disk nothing was tried for yet, state is zero.
func (d Disk) Provisioning(state State) string {
	switch {
	case d.Deleting:
		return Deleting
	case state.Failure.Counts():
		return Failed
	case !state.Ready:
		return Creating
	case d.SizeGB > state.SizeGB:
		return Updating
	}
	return Succeeded
}

// Size returns the size of the disk in GB: what it has, or is to have.
func (d Disk) Size(state State) int { return max(d.SizeGB, state.SizeGB) }
