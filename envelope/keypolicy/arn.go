package keypolicy

import (
	"regexp"
	"strings"
)

// principalARN is the ARN of an IAM user or role, or of an assumed role's
// session (IAM User Guide, "IAM identifiers" and "AWS JSON policy elements:
// Principal"). The first group is the account.
var principalARN = regexp.MustCompile(`^arn:aws(?:-[a-z]+)*:(?:iam::(\d{12}):(?:user|role)/|sts::(\d{12}):(?:assumed-role|federated-user)/)[A-Za-z0-9+=,.@_/-]{1,512}$`)

// rootARN is the ARN of an account, or its number alone.
var rootARN = regexp.MustCompile(`^(?:arn:aws(?:-[a-z]+)*:iam::(\d{12}):root|(\d{12}))$`)

// keyARN is the ARN of a KMS key.
var keyARN = regexp.MustCompile(`^arn:aws(?:-[a-z]+)*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$`)

func isRoot(id string) bool { return rootARN.MatchString(id) }

// sameRole reports whether two ARNs are the same, or a role and a session of
// it (a session's ARN has the role's name without its path).
func sameRole(a, b string) bool { return a == b || roleOf(a) != "" && roleOf(a) == roleOf(b) }

// roleOf is partition, account and name of a role or session, or "".
func roleOf(arn string) string {
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 {
		return ""
	}
	path := strings.Split(f[5], "/")
	switch {
	case f[2] == "iam" && path[0] == "role" && len(path) > 1:
		return f[1] + ":" + f[4] + ":" + path[len(path)-1]
	case f[2] == "sts" && path[0] == "assumed-role" && len(path) > 1:
		return f[1] + ":" + f[4] + ":" + path[1]
	}
	return ""
}
