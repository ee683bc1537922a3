package main

import (
	"github.com/spf13/cobra"
)

const doctorHelp = `Find out whether mail will arrive, and if not, why, and say what to do about it.

Each finding has a level: pass, info, unknown (it could not be found out: never a reason to stop), warn (mail arrives today, at some
receivers, or not as well as it could) and fail (mail does not arrive, or will not for long).

Exit codes: 0 nothing failed (warnings and what is not known count as well); 2 wrong usage or configuration; 4 a relay is away; 5 a
check failed.`

func newDoctorCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out whether mail will arrive, and why not",
		Long:  doctorHelp,
	}
	cmd.AddCommand(newDoctorDomainCmd(a), newDoctorRelayCmd(a), newDoctorListCmd(a))
	return cmd
}
