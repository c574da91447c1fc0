// Command authenticator is the login of an EKS cluster: aws-iam-authenticator's own packages, led
// to the sandbox's AWS.
//
//	authenticator server  answers an API server's token reviews
//	authenticator token   prints a token as a kubeconfig's exec login
//	authenticator map     reads aws-auth as the server does, one JSON document a line
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/aws-iam-authenticator/pkg/config"
	"sigs.k8s.io/aws-iam-authenticator/pkg/endpoints"
	"sigs.k8s.io/aws-iam-authenticator/pkg/metrics"
	"sigs.k8s.io/aws-iam-authenticator/pkg/server"
)

func main() {
	commands := map[string]func([]string) error{"server": serve, "token": printToken, "map": readMaps}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: authenticator server|token|map [flags]")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	cluster := flags.String("cluster", "", "name of the cluster, which every token is signed for")
	creator := flags.String("creator", "", "ARN of the role that created the cluster")
	kubeconfig := flags.String("kubeconfig", "", "login to the API server, to watch aws-auth")
	state := flags.String("state-dir", "", "folder of cert.pem and key.pem")
	modes := flags.String("backend-modes", "", "file of the backends in force")
	entries := flags.String("access-entries", "", "file of the DynamicFile backend")
	sts := flags.String("sts", "", "URL that answers for every STS host")
	port := flags.Int("port", 0, "loopback port")
	_ = flags.Parse(arguments)

	endpoint, err := url.Parse(*sts)
	if err != nil {
		return err
	}
	// The verifier's client has no transport of its own. The other clients have one.
	http.DefaultTransport = stsTransport{endpoint, http.DefaultTransport}

	// The server also opens port 21363 on every address for a health check, and does without when
	// the port is taken.
	if taken, err := net.Listen("tcp", "127.0.0.1:21363"); err == nil {
		defer taken.Close()
	}

	metrics.InitMetrics(prometheus.DefaultRegisterer)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	authenticator := server.New(ctx, config.Config{
		PartitionID:            endpoints.AwsPartitionID,
		ClusterID:              *cluster,
		KubeconfigPregenerated: true,
		Address:                "127.0.0.1",
		Hostname:               "127.0.0.1",
		HostPort:               *port,
		StateDir:               *state,
		Kubeconfig:             *kubeconfig,
		// Who created a cluster may do everything for ever, and no map shows it.
		RoleMappings: []config.RoleMapping{
			{RoleARN: *creator, Username: "kubernetes-admin", Groups: []string{"system:masters"}},
		},
		BackendMode:            []string{"MountedFile"},
		DynamicBackendModePath: *modes,
		DynamicFilePath:        *entries,
		// An access entry belongs to one principal, not to the next one of the same name.
		DynamicFileUserIDStrict:   true,
		EC2DescribeInstancesQps:   15,
		EC2DescribeInstancesBurst: 5,
	})
	go func() {
		<-ctx.Done()
		authenticator.Close()
	}()
	authenticator.Run(ctx.Done())
	return nil
}

// stsTransport carries a request for an STS host, which the verifier has checked, to the sandbox.
// The signature covers the host, so the header keeps it.
type stsTransport struct {
	endpoint *url.URL
	next     http.RoundTripper
}

func (t stsTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(request.URL.Host, "sts.") {
		return nil, fmt.Errorf("the sandbox has no way to %s", request.URL.Host)
	}
	led := request.Clone(request.Context())
	led.Host = request.URL.Host
	led.URL.Scheme, led.URL.Host = t.endpoint.Scheme, t.endpoint.Host
	return t.next.RoundTrip(led)
}
