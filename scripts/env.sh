# Sourced by the Makefile's recipes and by scripts/setup: puts cargo on the PATH, also when it was
# installed a moment ago and no new shell has read its profile.
if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ] && [ -z "${CARGO_HOME:-}" ]; then
  # Under sudo the Rust of the person who called is meant, not a second one for root.
  caller=$(getent passwd "$SUDO_USER" | cut -d: -f6)
  if [ -x "$caller/.cargo/bin/cargo" ]; then
    export CARGO_HOME="$caller/.cargo" RUSTUP_HOME="${RUSTUP_HOME:-$caller/.rustup}"
  fi
fi
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
export PATH
