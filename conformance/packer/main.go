// Command packer converts JSON to MessagePack and back with the codec for the wires between servers, so that a
// test can compare it with that of Node.js. It reads a line of JSON from its input and writes one to its output:
//
//	{"json": …, "attachments": […]}  becomes  {"packed": …}, and the other way round
//
// Binary data are hexadecimal digits; json is text.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"log"
	"os"

	"github.com/parley-go/parley/internal/sio"
)

type line struct {
	JSON        string   `json:"json,omitempty"`
	Attachments []string `json:"attachments,omitempty"`
	Packed      string   `json:"packed,omitempty"`
}

func main() {
	log.SetFlags(0)
	out := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var in line
		if err := json.Unmarshal(lines.Bytes(), &in); err != nil {
			log.Fatal(err)
		}
		if err := out.Encode(convert(in)); err != nil {
			log.Fatal(err)
		}
	}
}

func convert(in line) (out line) {
	if in.Packed != "" {
		data, attachments, err := sio.FromMsgpack(unhex(in.Packed), &sio.Limits{MaxAttachments: -1, MaxAttachmentBytes: -1, MaxDepth: -1})
		if err != nil {
			log.Fatal(err)
		}
		out.JSON = string(data)
		for _, a := range attachments {
			out.Attachments = append(out.Attachments, hex.EncodeToString(a))
		}
		return out
	}
	var attachments [][]byte
	for _, a := range in.Attachments {
		attachments = append(attachments, unhex(a))
	}
	packed, err := sio.AppendMsgpack(nil, []byte(in.JSON), attachments)
	if err != nil {
		log.Fatal(err)
	}
	out.Packed = hex.EncodeToString(packed)
	return out
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		log.Fatal(err)
	}
	return b
}
