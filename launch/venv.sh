# Sourced by the other scripts, in the project's folder.
# shellcheck shell=bash

# A Python of at least 3.11 that can make virtual environments.
find_python() {
  local name
  for name in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' \
      2>/dev/null; then
      echo "$name"
      return
    fi
  done
  echo "no Python >= 3.11 with venv was found; install one (Debian:" \
    "apt install python3 python3-venv) or set PYTHON to its path" >&2
  return 1
}

# uv takes a fifth of pip's time, and pip knows of mirrors that pip.conf names.
install_into_venv() {
  local pip=(.venv/bin/python -m pip install --quiet
    --disable-pip-version-check)
  { "${pip[@]}" uv &&
    .venv/bin/uv pip install --quiet --python .venv/bin/python "$@"; } ||
    "${pip[@]}" "$@"
}

# ensure_venv EXTRAS: .venv with this project installed, and the named extras.
# It installs again only when setup.py has changed.
ensure_venv() {
  local python stamp=".venv/installed-$1" want
  want=$(cksum setup.py)
  if ! .venv/bin/python -c '' 2>/dev/null; then
    python=$(find_python)
    echo "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
  fi
  if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    echo "installing jaxrl_entropy[$1] into .venv"
    install_into_venv --editable ".[$1]"
    echo "$want" >"$stamp"
  fi
}
