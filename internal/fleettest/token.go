package fleettest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

func parseToken(raw []byte) (azcore.AccessToken, error) {
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return azcore.AccessToken{}, err
	}
	if answer.AccessToken == "" {
		return azcore.AccessToken{}, fmt.Errorf("no token: %s", raw)
	}
	return azcore.AccessToken{Token: answer.AccessToken, ExpiresOn: time.Now().Add(time.Duration(answer.ExpiresIn) * time.Second)}, nil
}
