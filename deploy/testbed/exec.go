package testbed

import (
	"context"
	"io"
	"time"

	"github.com/testcontainers/testcontainers-go"
	tcexec "github.com/testcontainers/testcontainers-go/exec"
)

func exec(c testcontainers.Container, command []string) (code int, out string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	code, r, err := c.Exec(ctx, command, tcexec.Multiplexed())
	if err != nil {
		return code, "", err
	}
	b, err := io.ReadAll(r)
	return code, string(b), err
}

func logs(c testcontainers.Container) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := c.Logs(ctx)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}
