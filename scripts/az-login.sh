# Points the real Azure CLI at a Muster server and logs in as its administrator.
#
#   source scripts/az-login.sh STATE_DIR PORT
#
# STATE_DIR is the server's state directory with admin.json and ca.pem. The CLI
# gets a configuration folder of its own there, so that your own logins and
# clouds stay as they are; `unset AZURE_CONFIG_DIR REQUESTS_CA_BUNDLE` returns
# to them. Written for bash and zsh.

# Debian's python, not another one that may stand first on PATH.
_muster_az=/usr/bin/az
[ -x "$_muster_az" ] || _muster_az=az

# _muster_field prints a field of admin.json, by the first of its names.
_muster_field() {
	python3 - "$@" <<'PY'
import json, sys
with open(sys.argv[1]) as file:
    admin = json.load(file)
print(next(admin[name] for name in sys.argv[2:] if name in admin))
PY
}

_muster_login() {
	if [ $# != 2 ]; then
		echo "usage: source az-login.sh STATE_DIR PORT" >&2
		return 2
	fi
	local state url client tenant file failed
	for file in admin.json ca.pem; do
		if [ ! -r "$1/$file" ]; then
			echo "az-login.sh: cannot read $1/$file" >&2
			return 1
		fi
	done
	state=$(cd "$1" && pwd)
	url=https://localhost:$2
	client=$(_muster_field "$state/admin.json" clientId appId) || return
	tenant=$(_muster_field "$state/admin.json" tenantId tenant) || return

	export AZURE_CONFIG_DIR=$state/az REQUESTS_CA_BUNDLE=$state/ca.pem
	export AZURE_CORE_COLLECT_TELEMETRY=false AZURE_CORE_NO_COLOR=true
	(umask 077 && mkdir -p "$AZURE_CONFIG_DIR") || return

	# What an earlier login left goes; the index of commands may stay.
	for file in clouds.config config azureProfile.json msal_token_cache.json service_principal_entries.json; do
		rm -f "$AZURE_CONFIG_DIR/$file"
	done

	"$_muster_az" cloud register -n muster --endpoint-resource-manager "$url" \
		--endpoint-vm-image-alias-doc "$url/aliases.json" --only-show-errors || return
	"$_muster_az" cloud set -n muster --only-show-errors || return
	# The secret travels in a file: arguments are there for everybody to see.
	file=$AZURE_CONFIG_DIR/secret
	(umask 077 && _muster_field "$state/admin.json" clientSecret password | tr -d '\n' >"$file") || return
	"$_muster_az" login --service-principal -u "$client" -p "@$file" --tenant "$tenant" \
		--only-show-errors -o none
	failed=$?
	rm -f "$file"
	return $failed
}

_muster_login "$@"
