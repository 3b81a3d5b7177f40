# Signals reach the program, Ctrl-C and Ctrl-Z work as without us. Events are awaited through pipes, never slept for.
. "$(dirname "$0")/common.sh"

# Starts a program that says "ready" and then waits for a signal; sends `signal` to ebb; shows its exit code.
mkfifo "$folder/ready"
send() {
  local signal=$1 program=$2
  # A script's background jobs start with SIGINT ignored; this one shall not.
  env --default-signal=INT "$ebb" run -q -d 64M -s "file:$tier" sh -c "$program" >"$folder/out" 2>"$folder/err" &
  local pid=$!
  read -r word <"$folder/ready"
  [ "$word" = ready ] || fail "$signal: no sign of life"
  kill -"$signal" $pid
  wait $pid
  code=$?
}
# Busy until the signal comes: a shell that is about to block in a read does not see one that came just before.
waiter="echo ready >$folder/ready; while :; do :; done"
for signal in TERM HUP INT USR1 USR2; do
  send $signal "trap 'exit 42' $signal; $waiter"
  expect_equal "$code" 42 "$signal handled by the program"
done
send TERM "$waiter"
expect_equal "$code" 143 "TERM not handled"
send INT "$waiter"
expect_equal "$code" 130 "INT not handled"

# What we were told to ignore stays ignored in the program.
observe sh -c 'trap "" HUP; exec "$@"' - "$ebb" run -q -d 64M -s "file:$tier" sh -c 'kill -HUP $$; echo alive'
expect_equal "$out" alive "ignored HUP is inherited"
# SIGCHLD ignored by the caller.
observe env --ignore-signal=CHLD "$ebb" run -q -d 64M -s "file:$tier" sh -c 'exit 4'
expect_code 4 "SIGCHLD ignored by the caller"

if python3 "$(dirname "$0")/terminal.py" "$ebb" "$tier"; then :; else fail "terminal.py"; fi
finish
