package cli

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

// What a text may have in it that is nobody's business: the user and password of a
// URL, and what makes a presigned URL of AWS worth something.
var (
	userInfo  = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/?#"'<>]*@`)
	signature = regexp.MustCompile(`(?i)(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s"'<>]*`)
)

// redacted is a text without them.
func redacted(text string) string {
	if strings.Contains(text, "@") {
		text = userInfo.ReplaceAllString(text, "${1}(secret)@")
	}
	return signature.ReplaceAllString(text, "${1}(secret)")
}

// redactedAttr is a log's attribute without them.
func redactedAttr(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(redacted(v.String()))
	case slog.KindAny:
		switch x := v.Any().(type) {
		case error:
			a.Value = slog.StringValue(redacted(x.Error()))
		case fmt.Stringer:
			a.Value = slog.StringValue(redacted(x.String()))
		}
	}
	return a
}

// checkSecretless refuses a URI that has a user and a password in it: URIs are
// kept in the topic, in the lake and in logs.
func checkSecretless(what, uri string) error {
	if scheme, rest, found := strings.Cut(uri, "://"); found && scheme != "file" {
		if authority, _, _ := strings.Cut(rest, "/"); strings.Contains(authority, "@") {
			return &usageError{what + " " + quote(redacted(uri)) + " has a user or a password in it, which lakefeed would keep in the topic and the lake: leave them out; AWS credentials come from the environment or a profile"}
		}
	}
	if signature.MatchString(uri) {
		return &usageError{what + " " + quote(redacted(uri)) + " is a presigned URL, whose signature lakefeed would keep in the topic and the lake: name the object as s3://bucket/key"}
	}
	return nil
}
