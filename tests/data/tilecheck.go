// Reads a published log with Go's own checksum-database code, which knows nothing of Lockgate: the signed
// note, every hash tile up to the root, proofs of inclusion and consistency, every entry bundle.
//
//	tilecheck FOLDER VKEY-FILE [OLDER-SIZE ...]
//
// Built without modules, against Debian's golang-golang-x-mod-dev.
package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type folder string

func (f folder) Height() int { return height }

// C2SP tlog-tiles leaves the height out of the path that tlog.Tile writes, and calls entries by their name.
func (f folder) path(tile tlog.Tile) string {
	path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	return filepath.Join(string(f), strings.Replace(path, "tile/data/", "tile/entries/", 1))
}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(f.path(tile))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

func check(err error, what string) {
	if err != nil {
		fmt.Println("REFUSED", what+":", err)
		os.Exit(1)
	}
}

func tree(f folder, vkey string) tlog.Tree {
	verifier, err := note.NewVerifier(strings.TrimSpace(vkey))
	check(err, "key")
	text, err := os.ReadFile(filepath.Join(string(f), "checkpoint"))
	check(err, "checkpoint")
	opened, err := note.Open(text, note.VerifierList(verifier))
	check(err, "note")
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err, "size")
	root, err := base64.StdEncoding.DecodeString(lines[2])
	check(err, "root")
	var hash tlog.Hash
	copy(hash[:], root)
	return tlog.Tree{N: size, Hash: hash}
}

func entries(f folder, t tlog.Tree, hashes tlog.HashReader) {
	for first := int64(0); first < t.N; first += 256 {
		width := 256
		if t.N-first < 256 {
			width = int(t.N - first)
		}
		data, err := f.ReadTiles([]tlog.Tile{{H: height, L: -1, N: first / 256, W: width}})
		check(err, "entries")
		var indexes []int64
		var found []tlog.Hash
		rest := data[0]
		for at := 0; at < width; at++ {
			if len(rest) < 2 || len(rest) < 2+int(rest[0])<<8+int(rest[1]) {
				check(fmt.Errorf("cut at %d", first+int64(at)), "entries")
			}
			length := int(rest[0])<<8 + int(rest[1])
			found = append(found, tlog.RecordHash(rest[2:2+length]))
			rest = rest[2+length:]
			indexes = append(indexes, tlog.StoredHashIndex(0, first+int64(at)))
		}
		wanted, err := hashes.ReadHashes(indexes)
		check(err, "tiles")
		for at := range wanted {
			if wanted[at] != found[at] {
				check(fmt.Errorf("entry %d has another hash", first+int64(at)), "entries")
			}
		}
	}
}

func main() {
	f := folder(os.Args[1])
	vkey, err := os.ReadFile(os.Args[2])
	check(err, "key")
	t := tree(f, string(vkey))
	hashes := tlog.TileHashReader(t, f)
	root, err := tlog.TreeHash(t.N, hashes)
	check(err, "tree")
	if root != t.Hash {
		check(fmt.Errorf("another root"), "tree")
	}
	entries(f, t, hashes)
	proofs := 0
	step := t.N/97 + 1
	for index := int64(0); index < t.N; index += step {
		proof, err := tlog.ProveRecord(t.N, index, hashes)
		check(err, "inclusion")
		leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
		check(err, "inclusion")
		check(tlog.CheckRecord(proof, t.N, t.Hash, index, leaf[0]), "inclusion")
		proofs++
	}
	sizes := []int64{}
	for size := int64(1); size <= t.N; size += step {
		sizes = append(sizes, size)
	}
	for _, word := range os.Args[3:] {
		size, err := strconv.ParseInt(word, 10, 64)
		check(err, "size")
		sizes = append(sizes, size)
	}
	for _, size := range sizes {
		older, err := tlog.TreeHash(size, hashes)
		check(err, "consistency")
		proof, err := tlog.ProveTree(t.N, size, hashes)
		check(err, "consistency")
		check(tlog.CheckTree(proof, t.N, t.Hash, size, older), "consistency")
		proofs++
	}
	fmt.Printf("ACCEPTED %d entries, %d proofs\n", t.N, proofs)
}
