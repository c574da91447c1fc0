package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"

	awsarn "github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/aws-iam-authenticator/pkg/arn"
	"sigs.k8s.io/aws-iam-authenticator/pkg/config"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper/configmap"
	"sigs.k8s.io/aws-iam-authenticator/pkg/metrics"
	"sigs.k8s.io/aws-iam-authenticator/pkg/token"
)

type question struct {
	Data map[string]string `json:"data"`
	// ARNs as STS shows them or as IAM does.
	ARNs []string `json:"arns"`
}

type answer struct {
	Roles    []config.RoleMapping `json:"roles"`
	Users    []config.UserMapping `json:"users"`
	Accounts []string             `json:"accounts"`
	Error    string               `json:"error"`
	// Mapped has an entry for each ARN that gets in, with templates as the map has them.
	Mapped map[string]mapping `json:"mapped"`
}

type mapping struct {
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
	// Account is whether mapAccounts lets the ARN in, and no entry of its own.
	Account bool `json:"account"`
}

// readMaps answers one question a line. The mapper takes its map from a watch only, so it watches
// a small API server in this process.
func readMaps([]string) error {
	logrus.SetOutput(io.Discard) // the answers carry the errors
	metrics.InitMetrics(prometheus.NewRegistry())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	maps := watchedMaps{next: make(chan map[string]string), asked: make(chan struct{})}
	go func() { _ = http.Serve(listener, maps) }()
	mapper, err := configmap.NewConfigMapMapper(config.Config{Master: "http://" + listener.Addr().String()})
	if err != nil {
		return err
	}
	if err := mapper.Start(make(chan struct{})); err != nil {
		return err
	}
	<-maps.asked
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	encoder := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			return err
		}
		maps.next <- asked.Data
		<-maps.asked // the mapper watches again when it has taken the map in
		if err := encoder.Encode(answered(mapper, asked)); err != nil {
			return err
		}
	}
	return lines.Err()
}

func answered(mapper *configmap.ConfigMapMapper, asked question) answer {
	users, roles, accounts, err := configmap.ParseMap(asked.Data)
	given := answer{Roles: roles, Users: users, Accounts: accounts, Mapped: map[string]mapping{}}
	if err != nil {
		given.Error = err.Error()
	}
	for _, name := range asked.ARNs {
		parsed, err := awsarn.Parse(name)
		if err != nil {
			continue
		}
		_, canonical, err := arn.Canonicalize(name)
		if err != nil {
			continue
		}
		identity := &token.Identity{ARN: name, CanonicalARN: canonical, AccountID: parsed.AccountID}
		if found, err := mapper.Map(identity); err == nil {
			given.Mapped[name] = mapping{Username: found.Username, Groups: found.Groups}
		} else if mapper.IsAccountAllowed(identity.AccountID) {
			given.Mapped[name] = mapping{Username: canonical, Groups: []string{}, Account: true}
		}
	}
	return given
}

// watchedMaps answers each watch with one event and its end.
type watchedMaps struct {
	next  chan map[string]string
	asked chan struct{}
}

func (m watchedMaps) ServeHTTP(response http.ResponseWriter, _ *http.Request) {
	m.asked <- struct{}{}
	data := <-m.next
	response.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(response).Encode(map[string]any{
		"type": "MODIFIED",
		"object": corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: metav1.ObjectMeta{Name: "aws-auth", Namespace: "kube-system"},
			Data:       data,
		},
	})
}
