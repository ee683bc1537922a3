package send

import (
	"testing"

	"mailer/internal/config"
	"mailer/internal/message"
)

// Every rule has a key under checks: in mailer.yaml, and both sides have the same default.
func TestEveryRuleHasALevel(t *testing.T) {
	levels := config.Default().Checks.Levels()
	for _, r := range message.Rules() {
		rule, level := r.Name, r.Level
		if want := map[string]string{"warn": message.LevelWarning, "error": message.LevelError}[levels[rule]]; want != level {
			t.Errorf("%s: %s in the rules, %q in the configuration", rule, level, levels[rule])
		}
		delete(levels, rule)
	}
	if len(levels) > 0 {
		t.Errorf("no rules: %v", levels)
	}
}
