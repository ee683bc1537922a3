// Package suppression holds the rules of who must not be mailed any more: the reasons, what each of them blocks, and what
// a mail from the bounce mailbox does to the address it is about.
//
// A suppression outlives its contact and no import lifts it. An unsubscribe is the person's wish about marketing; a
// receipt for something they bought may still go out. A dead address, a complaint and an operator's decision block all.
package suppression

// Reasons. The same list stands as a CHECK in the table.
const (
	Unsubscribe = "unsubscribe"
	HardBounce  = "hard_bounce"
	SoftBounces = "soft_bounces"
	Complaint   = "complaint"
	Manual      = "manual"
	Import      = "import"
	Forgotten   = "forgotten"
)

// What a suppression blocks.
const (
	BlocksMarketing = "marketing"
	BlocksAll       = "all"
)

// What a suppression is about.
const (
	ScopeAddress = "address"
	ScopeDomain  = "domain"
)

// Reasons returns all reasons.
func Reasons() []string {
	return []string{Unsubscribe, HardBounce, SoftBounces, Complaint, Manual, Import, Forgotten}
}

// Blocks says what a reason blocks.
func Blocks(reason string) string {
	if reason == Unsubscribe {
		return BlocksMarketing
	}
	return BlocksAll
}

// Stops reports whether a suppression stops mail of a campaign class (marketing or operational).
func Stops(blocks, class string) bool {
	return blocks == BlocksAll || class == "marketing"
}
