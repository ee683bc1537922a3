package send

import "time"

// Progress is how a run stands, for people and scripts. The store's balance is the truth; this is for showing.
type Progress struct {
	Campaign string `json:"campaign"`
	Total    int64  `json:"total"` // what this run has to do
	Done     int64  `json:"done"`  // ended, for now or for good

	Accepted  int64 `json:"accepted"`
	Deferred  int64 `json:"deferred"`
	Failed    int64 `json:"failed"`
	Uncertain int64 `json:"uncertain"`
	Excluded  int64 `json:"excluded"`

	PerSecond float64         `json:"per_second"` // over the last ten seconds
	Note      string          `json:"note"`       // why nothing moves, when nothing does
	Until     time.Time       `json:"until,omitzero"`
	Lanes     []LaneProgress  `json:"lanes"`  // the largest first
	Relays    []RelayProgress `json:"relays"` // in the order of the configuration
}

// LaneProgress is how a receiving provider stands. Domains that are no provider's and take little are one lane, "others".
type LaneProgress struct {
	Name     string    `json:"name"`
	Total    int64     `json:"total"`
	Accepted int64     `json:"accepted"`
	Deferred int64     `json:"deferred"`
	Failed   int64     `json:"failed"`
	Rate     float64   `json:"rate,omitempty"`  // messages a second that it is slowed to; 0: it is not
	Until    time.Time `json:"until,omitzero"`  // paused until then
	Why      string    `json:"why,omitempty"`   // it is slowed or paused: what the receiving side said
	Limit    string    `json:"limit,omitempty"` // the limit that holds it at the moment
}

// RelayProgress is how a relay stands.
type RelayProgress struct {
	Name        string    `json:"name"`
	Connections int       `json:"connections"`
	Accepted    int64     `json:"accepted"`
	Until       time.Time `json:"until,omitzero"` // paused until then
	Why         string    `json:"why,omitempty"`
}
