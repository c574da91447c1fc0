package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	authenticator "sigs.k8s.io/aws-iam-authenticator/pkg/token"
)

// printToken signs offline and reads nothing of the environment, so that a kubeconfig stands for the
// same principal in every shell.
func printToken(arguments []string) error {
	flags := flag.NewFlagSet("token", flag.ExitOnError)
	cluster := flags.String("cluster", "", "name of the cluster")
	region := flags.String("region", "", "region of the STS host that the token names")
	file := flags.String("credentials", "", "JSON file of accessKeyId, secretAccessKey, sessionToken")
	_ = flags.Parse(arguments)

	content, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	var keys struct{ AccessKeyID, SecretAccessKey, SessionToken string }
	if err := json.Unmarshal(content, &keys); err != nil {
		return fmt.Errorf("%s is not JSON", *file) // the error quotes the content
	}
	generator, err := authenticator.NewGenerator(false, false)
	if err != nil {
		return err
	}
	provider := credentials.NewStaticCredentialsProvider(
		keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken)
	client := sts.NewFromConfig(aws.Config{Region: *region, Credentials: provider})
	made, err := generator.GetWithSTS(*cluster, client)
	if err != nil {
		return err
	}
	fmt.Println(generator.FormatJSON(made))
	return nil
}
