// Package testbed starts what lakefeed talks to in production, as containers for
// tests: Kafka, MinIO for S3, moto for Glue and Athena, and Trino, the engine
// inside Athena. Each is started when the first test asks for it, once a process,
// and serves all tests; they keep apart by names made at random. All share one
// network, in which they are called kafka, minio, moto and trino.
//
// Without Docker a test that asks is skipped, or fails where
// LAKEFEED_REQUIRE_DOCKER=1 says that there must be Docker. Such tests are left
// out of -short, and of a run of all tests within less time than they take.
package testbed

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
	tcnetwork "github.com/testcontainers/testcontainers-go/network"
)

// startLimit is how long a container may take to be ready.
const startLimit = 5 * time.Minute

// bed is what this process has started.
var bed struct {
	mu      sync.Mutex
	docker  client.APIClient // nil: not looked for yet, or missing
	missing error            // why there is no Docker
	network *testcontainers.DockerNetwork
	running []*Container
}

// Container is a running container. It keeps its ports when it is stopped and
// started again.
type Container struct {
	Name string // in the network of the containers

	c     testcontainers.Container
	ports map[string]int // on 127.0.0.1, by the port inside
}

// address is where a port of the container is from here.
func (c *Container) address(inside string) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.ports[inside]))
}

// Stop stops the container as `docker stop` does. What it has stored stays.
func (c *Container) Stop(t testing.TB) {
	t.Helper()
	grace := 10 * time.Second
	if err := c.c.Stop(context.Background(), &grace); err != nil {
		t.Fatalf("stop %s: %v", c.Name, err)
	}
}

// Start starts a stopped container and waits until it is ready.
func (c *Container) Start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := c.c.Start(ctx); err != nil {
		t.Fatalf("start %s: %v", c.Name, err)
	}
}

// Outage stops the container for so long. It runs again when the test ends,
// whatever becomes of the test.
func (c *Container) Outage(t testing.TB, d time.Duration) {
	t.Helper()
	back := Away(t, c)
	time.Sleep(d)
	back()
}

// Away stops containers until back is called, or the test ends. They are started in
// their order.
func Away(t testing.TB, containers ...*Container) (back func()) {
	t.Helper()
	back = func() {
		for _, c := range containers {
			if !c.c.IsRunning() {
				c.Start(t)
			}
		}
	}
	t.Cleanup(back)
	for _, c := range containers {
		c.Stop(t)
	}
	return back
}

// Pause lets the container's processes stand still: it takes connections and
// answers nothing. Resume ends that; the test's end does at the latest.
func (c *Container) Pause(t testing.TB) (resume func()) {
	t.Helper()
	if _, err := bed.docker.ContainerPause(context.Background(), c.c.GetContainerID(), client.ContainerPauseOptions{}); err != nil {
		t.Fatalf("pause %s: %v", c.Name, err)
	}
	resume = sync.OnceFunc(func() {
		if _, err := bed.docker.ContainerUnpause(context.Background(), c.c.GetContainerID(), client.ContainerUnpauseOptions{}); err != nil {
			t.Errorf("resume %s: %v", c.Name, err)
		}
	})
	t.Cleanup(resume)
	return resume
}

// Exec runs a command in the container, which must exit with 0, and gives what it
// printed.
func (c *Container) Exec(t testing.TB, command ...string) string {
	t.Helper()
	code, out, err := exec(c.c, command)
	if err != nil || code != 0 {
		t.Fatalf("%s in %s: exit %d, %v\n%s", strings.Join(command, " "), c.Name, code, err, out)
	}
	return out
}

// spec is what makes a container.
type spec struct {
	name    string
	image   string
	ports   []string // to be reached from here
	options func(c *Container) []testcontainers.ContainerCustomizer
}

// once starts a container for the first test that asks for it.
type once struct {
	spec    spec
	mu      sync.Mutex
	c       *Container
	err     error
	started bool
}

// get gives the container, or ends the test.
func (o *once) get(t testing.TB) *Container {
	t.Helper()
	need(t)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.started {
		began := time.Now()
		o.c, o.err = start(o.spec)
		o.started = true
		if o.err == nil {
			t.Logf("%s is up after %v", o.spec.image, time.Since(began).Round(time.Millisecond))
		}
	}
	if o.err != nil {
		without(t, o.err)
	}
	return o.c
}

// errImage says that an image is not here and cannot be had.
var errImage = errors.New("the image is not here and cannot be had")

// without ends a test for which there is no container.
func without(t testing.TB, err error) {
	t.Helper()
	if required() || !errors.Is(err, errImage) {
		t.Fatal(err)
	}
	t.Skip(err)
}

func required() bool { return os.Getenv("LAKEFEED_REQUIRE_DOCKER") == "1" }

// need skips or fails a test if there is no Docker.
func need(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("tests with containers are left out of -short")
	}
	if os.Getenv("LAKEFEED_REQUIRE_DOCKER") == "0" {
		t.Skip("LAKEFEED_REQUIRE_DOCKER=0: no tests with containers")
	}
	if !required() && tooShort() {
		t.Skipf("all tests with containers take more than the time limit: give -timeout %s, or -run for some of them", allTake)
	}
	bed.mu.Lock()
	defer bed.mu.Unlock()
	if bed.docker == nil && bed.missing == nil {
		bed.docker, bed.missing = connect()
	}
	switch {
	case bed.missing == nil:
	case required():
		t.Fatalf("LAKEFEED_REQUIRE_DOCKER=1, but there is no Docker: %v", bed.missing)
	default:
		t.Skipf("there is no Docker: %v", bed.missing)
	}
}

// allTake is how long all tests with containers take, at most, on two cores.
const allTake = 50 * time.Minute

// tooShort says whether all tests are to run, within less time than those with containers
// take: go test ends them after ten minutes where nobody says otherwise, and all that
// passed would be lost with them.
func tooShort() bool {
	limit, ok := flag.Lookup("test.timeout").Value.(flag.Getter).Get().(time.Duration)
	return ok && limit > 0 && limit < allTake && flag.Lookup("test.run").Value.String() == ""
}

// connect finds Docker.
func connect() (docker client.APIClient, err error) {
	// The library panics where it finds no socket at all.
	defer func() {
		if r := recover(); r != nil {
			docker, err = nil, fmt.Errorf("%v", r)
		}
	}()
	// Inside of a container the library would look for ports at the bridge's gateway;
	// the ports here are bound to the loopback interface.
	if _, set := os.LookupEnv("TESTCONTAINERS_HOST_OVERRIDE"); !set {
		os.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	}
	tclog.SetDefault(tclog.NewNoopLogger())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := c.Ping(ctx, client.PingOptions{}); err != nil {
		return nil, err
	}
	return c, nil
}

// start makes and starts a container and waits until it is ready.
func start(s spec) (*Container, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := image(ctx, s.image); err != nil {
		return nil, err
	}
	net, err := sharedNetwork(ctx)
	if err != nil {
		return nil, fmt.Errorf("make a network for %s: %w", s.name, err)
	}
	c := &Container{Name: s.name, ports: map[string]int{}}
	bindings := network.PortMap{}
	for _, inside := range s.ports {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		c.ports[inside] = port
		bindings[network.MustParsePort(inside)] = []network.PortBinding{{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: strconv.Itoa(port)}}
	}
	options := append([]testcontainers.ContainerCustomizer{
		tcnetwork.WithNetwork([]string{s.name}, net),
		testcontainers.WithExposedPorts(s.ports...),
		testcontainers.WithHostConfigModifier(func(hc *container.HostConfig) { hc.PortBindings = bindings }),
	}, s.options(c)...)
	c.c, err = testcontainers.Run(ctx, s.image, options...)
	if err != nil {
		text := ""
		if c.c != nil {
			text, _ = logs(c.c) // as far as there are any
			_ = testcontainers.TerminateContainer(c.c)
		}
		return nil, fmt.Errorf("start %s: %w\n%s", s.image, err, tail(text, 4000))
	}
	bed.mu.Lock()
	bed.running = append(bed.running, c)
	bed.mu.Unlock()
	return c, nil
}

// image sees to it that an image is here.
func image(ctx context.Context, name string) error {
	if _, err := bed.docker.ImageInspect(ctx, name); err == nil {
		return nil
	}
	answer, err := bed.docker.ImagePull(ctx, name, client.ImagePullOptions{})
	if err == nil {
		err = answer.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", name, errImage, err)
	}
	return nil
}

func sharedNetwork(ctx context.Context) (*testcontainers.DockerNetwork, error) {
	bed.mu.Lock()
	defer bed.mu.Unlock()
	if bed.network == nil {
		n, err := tcnetwork.New(ctx)
		if err != nil {
			return nil, err
		}
		bed.network = n
	}
	return bed.network, nil
}

// Close removes all that was started. TestMain calls it when the tests are
// through; what a process leaves that dies before is removed by the library's
// reaper.
func Close() error {
	bed.mu.Lock()
	defer bed.mu.Unlock()
	var errs []error
	for _, c := range bed.running {
		errs = append(errs, testcontainers.TerminateContainer(c.c, testcontainers.StopTimeout(0)))
	}
	bed.running = nil
	if bed.network != nil {
		errs = append(errs, bed.network.Remove(context.Background()))
		bed.network = nil
	}
	return errors.Join(errs...)
}

// FreePort is a port of the loopback interface that nobody listens at: none of those
// that a system gives to whoever asks for any, as a container that is started again has to
// find its own still free.
func FreePort() (port int, err error) {
	for range 100 {
		port = 20_000 + mathrand.IntN(10_000)
		var l net.Listener
		if l, err = net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}

// Name makes a name that no other test has: of a bucket, a topic, a database.
func Name(prefix string) string {
	return prefix + "-" + strings.ToLower(rand.Text()[:10])
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }
