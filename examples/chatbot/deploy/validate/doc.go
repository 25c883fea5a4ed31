// Package validate checks the deployment files of the chatbot, all by tests:
// scripts, units, Dockerfiles, policies, user data, Kubernetes manifests, and what
// docs/OPERATIONS.md says about them and about the program.
//
// It is a module of its own, so that nobody who imports nitroseal gets
// Kubernetes' types. Programs that are not on the machine make tests skip, or
// fail if NITROSEAL_REQUIRE_FOREIGN is set.
package validate
