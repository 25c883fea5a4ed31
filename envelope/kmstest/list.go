package kmstest

import (
	"maps"
	"slices"
)

// The operations that list what there is. As in AWS, key policies have no say
// in them.

type listKeysInput struct {
	Limit  int
	Marker string
}

type keyListEntry struct {
	KeyID  string `json:"KeyId"`
	KeyArn string
}

type listKeysOutput struct {
	Keys       []keyListEntry
	NextMarker string `json:",omitempty"`
	Truncated  bool
}

func (s *Server) listKeys(_ *call, in *listKeysInput) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ids, next, err := page(slices.Sorted(maps.Keys(s.keys)), in.Limit, in.Marker)
	if err != nil {
		return nil, err
	}
	out := listKeysOutput{Keys: []keyListEntry{}, NextMarker: next, Truncated: next != ""}
	for _, id := range ids {
		out.Keys = append(out.Keys, keyListEntry{id, s.keys[id].arn})
	}
	return out, nil
}

type listAliasesInput struct {
	KeyID  string `json:"KeyId"`
	Limit  int
	Marker string
}

type aliasListEntry struct {
	AliasArn, AliasName string
	TargetKeyID         string `json:"TargetKeyId"`
}

type listAliasesOutput struct {
	Aliases    []aliasListEntry
	NextMarker string `json:",omitempty"`
	Truncated  bool
}

func (s *Server) listAliases(_ *call, in *listAliasesInput) (any, error) {
	var of string
	if in.KeyID != "" {
		k, err := s.find(in.KeyID)
		if err != nil {
			return nil, err
		}
		of = k.uuid()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(s.aliases)), func(name string) bool { return of != "" && s.aliases[name] != of })
	names, next, err := page(names, in.Limit, in.Marker)
	if err != nil {
		return nil, err
	}
	out := listAliasesOutput{Aliases: []aliasListEntry{}, NextMarker: next, Truncated: next != ""}
	for _, name := range names {
		out.Aliases = append(out.Aliases, aliasListEntry{s.arn(name), name, s.aliases[name]})
	}
	return out, nil
}

// page is what follows marker, at most limit names (100 if that is 0), and the
// marker of the next page.
func page(names []string, limit int, marker string) (list []string, next string, err error) {
	if limit == 0 {
		limit = 100
	}
	if limit < 1 || limit > 1000 {
		return nil, "", apiError{"ValidationException", "Limit must be 1 to 1000"}
	}
	i, found := slices.BinarySearch(names, marker)
	if found {
		i++
	} else if marker != "" {
		return nil, "", apiError{"InvalidMarkerException", "the marker is none of this server's"}
	}
	names = names[i:]
	if len(names) > limit {
		return names[:limit], names[limit-1], nil
	}
	return names, "", nil
}
