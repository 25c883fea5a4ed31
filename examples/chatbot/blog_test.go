package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
)

// postAsk does what the AWS blog post's client does, from what demo -keep tells
// and nothing else.
func postAsk(ctx context.Context, info local.Info, question string) (string, error) {
	client := kms.New(kms.Options{
		Region: info.Region, BaseEndpoint: &info.KMSEndpoint,
		Credentials: credentialsOf(info.AccessKeyID, info.SecretAccessKey, info.SessionToken),
	})
	sealed, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String("alias/" + info.KeyAlias), Plaintext: []byte(strings.ToLower(question))})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]any{
		"access_key_id": info.AccessKeyID, "secret_access_key": info.SecretAccessKey, "token": info.SessionToken,
		"region": info.Region, "ciphertext": sealed.CiphertextBlob,
	})
	if err != nil {
		return "", err
	}
	resp, err := http.Post(info.ParentURL, "application/json", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	var reply struct {
		EncryptedData []byte
		Error         string `json:"error"`
	}
	if err := json.Unmarshal(data, &reply); err != nil || reply.Error != "" {
		return "", fmt.Errorf("HTTP %d, %s", resp.StatusCode, data)
	}
	opened, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: reply.EncryptedData})
	if err != nil {
		return "", err
	}
	var results struct{ Results string }
	err = json.Unmarshal(opened.Plaintext, &results)
	return results.Results, err
}

// The post's client works unchanged where the insecure mode was asked for,
// beside sealed clients, and not otherwise.
func TestBlogMode(t *testing.T) {
	info, stop := keep(t, "-insecure-blog-mode")
	defer stop()
	got, err := postAsk(t.Context(), info, "What Is My Deductible?")
	if err != nil || strings.TrimSpace(got) == "" {
		t.Errorf("%q, %v", got, err)
	}
	// Sampling is the post's, so the answer is not always the same.
	t.Logf("the post's client got %q", got)
	if code, answer, errOut := runArgs(t, "", clientArgs(info, "-q", "tell me a joke")...); code != exitOK || answer != joke+"\n" {
		t.Errorf("the sealed client: exit status %d, %q, %q", code, answer, errOut)
	}
	t.Run("Python", func(t *testing.T) {
		python, err := exec.LookPath("python3")
		if err == nil {
			err = exec.Command(python, "-c", "import boto3").Run()
		}
		if err != nil {
			if os.Getenv("NITROSEAL_REQUIRE_FOREIGN") != "" {
				t.Fatalf("python3 with boto3: %v", err)
			}
			t.Skipf("python3 with boto3 is not installed: %v", err)
		}
		cmd := exec.CommandContext(t.Context(), python, "internal/blog/testdata/post_client.py",
			info.KMSEndpoint, info.KeyAlias, info.Region, info.ParentURL)
		cmd.Stdin = strings.NewReader("What is my deductible?\n")
		cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+info.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+info.SecretAccessKey,
			"AWS_SESSION_TOKEN="+info.SessionToken, "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE="+os.DevNull,
			"AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "NO_PROXY=127.0.0.1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), `{"Results": "`) {
			t.Errorf("%v: %s", err, out)
		}
	})
}

func TestBlogModeIsOff(t *testing.T) {
	info := startCluster(t, nil).Info()
	resp, err := http.Post(info.ParentURL, "application/json", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("HTTP %d", resp.StatusCode)
	}
}
