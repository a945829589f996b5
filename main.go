// Lakefeed takes CSV feeds through Kafka into typed Parquet tables of a lake.
package main

import (
	"os"

	"lakefeed/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
