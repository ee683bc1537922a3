package doctor

import (
	"context"
	"slices"
	"sync"
)

// Area is a part of what can be wrong: domain, relay, list, workspace.
type Area struct {
	Name  string
	Check func(context.Context) ([]Finding, error)
}

// Areas are the names of all.
var Areas = []string{"domain", "relay", "list", "workspace"}

// All checks areas side by side, and returns what was found in their order. done is told of each that is over, one call at a time. An
// area that cannot be checked does not hold up the others: it is Unknown.
func All(ctx context.Context, areas []Area, done func(left []string)) []Finding {
	found := make([][]Finding, len(areas))
	var mu sync.Mutex
	var left []string
	for _, a := range areas {
		left = append(left, a.Name)
	}
	done(slices.Clone(left))
	var all sync.WaitGroup
	for i, a := range areas {
		all.Go(func() {
			var err error
			if found[i], err = a.Check(ctx); err != nil {
				found[i] = append(found[i], Finding{Area: a.Name, Check: a.Name, Level: Unknown, Found: "Not all of it could be looked at: " + err.Error() + "."})
			}
			mu.Lock()
			defer mu.Unlock()
			at := slices.Index(left, a.Name)
			left = slices.Delete(left, at, at+1)
			done(slices.Clone(left))
		})
	}
	all.Wait()
	return slices.Concat(found...)
}
