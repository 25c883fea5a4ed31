package keypolicy

import "regexp"

// principalARN is the ARN of an IAM user or role, or of an assumed role's
// session (IAM User Guide, "IAM identifiers" and "AWS JSON policy elements:
// Principal"). The first group is the account.
var principalARN = regexp.MustCompile(`^arn:aws(?:-[a-z]+)*:(?:iam::(\d{12}):(?:user|role)/|sts::(\d{12}):(?:assumed-role|federated-user)/)[A-Za-z0-9+=,.@_/-]{1,512}$`)

// rootARN is the ARN of an account, or its number alone.
var rootARN = regexp.MustCompile(`^(?:arn:aws(?:-[a-z]+)*:iam::(\d{12}):root|(\d{12}))$`)

// keyARN is the ARN of a KMS key.
var keyARN = regexp.MustCompile(`^arn:aws(?:-[a-z]+)*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$`)

func isRoot(id string) bool { return rootARN.MatchString(id) }
