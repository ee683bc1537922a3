package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"mailer/internal/segment"

	"github.com/spf13/cobra"
)

// offerCompletions gives the shell the names that a workspace holds: campaigns where a command takes CAMPAIGN, segments
// and relays for their flags. The scripts themselves (`mailer completion bash`) are cobra's.
func offerCompletions(a *app, cmd *cobra.Command) {
	if takesCampaign(cmd) && cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.campaignNames(), cobra.ShellCompDirectiveDefault // a path will do as well
		}
	}
	for flag, names := range map[string]func() []string{"segment": a.segmentNames, "relay": a.relayNames} {
		if cmd.LocalNonPersistentFlags().Lookup(flag) == nil {
			continue
		}
		if _, has := cmd.GetFlagCompletionFunc(flag); !has {
			cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
				return names(), cobra.ShellCompDirectiveNoFileComp
			})
		}
	}
	for _, sub := range cmd.Commands() {
		offerCompletions(a, sub)
	}
}

// takesCampaign looks at the usage line: send CAMPAIGN, report [CAMPAIGN].
func takesCampaign(cmd *cobra.Command) bool {
	words := strings.Fields(cmd.Use)
	return len(words) > 1 && strings.Trim(words[1], "[]") == "CAMPAIGN"
}

// language is the end of a campaign's name that tells its languages apart: news.ja, news.en.
var language = regexp.MustCompile(`\.[a-z]{2,3}$`)

// campaignNames are the files' stems without their language; nothing when there is no workspace, because a completion
// has nobody to complain to.
func (a *app) campaignNames() []string {
	var names []string
	for _, file := range a.namesIn("campaigns", ".md", ".html", ".txt") {
		names = append(names, language.ReplaceAllString(file, ""))
	}
	return slices.Compact(names)
}

func (a *app) segmentNames() []string {
	dir, err := a.find()
	if err != nil {
		return nil
	}
	names, err := segment.Names(os.DirFS(dir))
	if err != nil {
		return nil
	}
	return names
}

func (a *app) relayNames() []string {
	ws, err := a.load()
	if err != nil {
		return nil
	}
	var names []string
	for _, r := range ws.Config.Relays {
		names = append(names, r.Name)
	}
	return names
}

// namesIn lists the files of a workspace's folder that end in one of the extensions, without it.
func (a *app) namesIn(folder string, extensions ...string) []string {
	dir, err := a.find()
	if err != nil {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(dir, folder))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && slices.Contains(extensions, ext) {
			names = append(names, strings.TrimSuffix(e.Name(), ext))
		}
	}
	return names
}
