#!/bin/bash
# jackd2 with the dummy driver: as many servers as wanted (8 at most), no sound hardware, as root.
#   jack.sh start NAME [PERIOD] [RATE]    SCHED_FIFO 60 (default 128 frames at 48,000 Hz)
#   jack.sh run NAME -- COMMAND...        runs COMMAND against that server
#   jack.sh stop NAME
# Periods below 128 frames miss their time on a small machine; tests never count xruns.
set -eu
dir=${JACKLAB:-/run/jacklab}
mkdir -p "$dir"
case ${1:-} in
  start)
    JACK_NO_AUDIO_RESERVATION=1 nohup jackd -n "$2" -R -P 60 -d dummy -r "${4:-48000}" -p "${3:-128}" \
      >"$dir/$2.log" 2>&1 </dev/null &
    echo $! >"$dir/$2.pid"
    jack_wait -s "$2" -w -t 5 >/dev/null ;;
  run)
    name=$2; shift 3
    exec env JACK_DEFAULT_SERVER="$name" JACK_NO_START_SERVER=1 "$@" ;;
  stop)
    pid=$(cat "$dir/$2.pid")
    rm -f "$dir/$2.pid"
    kill "$pid"
    # The name is free for the next server only when this one is gone.
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || exit 0; sleep 0.1; done
    kill -KILL "$pid" ;;
  *) sed -n 2,6p "$0"; exit 2 ;;
esac
