// Lakefeed takes CSV feeds through Kafka into typed Parquet tables of a lake.
package main

import (
	"os"
	_ "time/tzdata" // for images that have nothing but the binary

	_ "golang.org/x/crypto/x509roots/fallback" // the same: used where the system has no roots

	"lakefeed/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
