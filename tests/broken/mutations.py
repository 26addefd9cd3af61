"""The promises, and for each how it is broken: a change of the code that takes it away, and who must notice.

The old text of a mutation stands exactly once in its file, which `tests/docs/test_docs_promises.py` checks with each
run of the suite. `break_promises.py` applies them, one at a time, to a copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RIG = "tests/faults/test_fault_rig.py::test_every_fault_at_every_step_of_an_apply_is_mended"
CHANGES = f"{RIG}[embedded-changes]"
LOCK = "tests/state/test_lock.py"
STORE = "tests/state/test_state_store.py"
REFRESHING = "tests/refreshing/test_refreshing.py"
FAULTS = "tests/index/test_server_faults.py"
ORDER = "tests/applying/test_order_of_writes.py"
REMOTE = "tests/state/remote"
REPLACING = "tests/workspace/test_replacing.py"
REPLACING_TROUBLE = "tests/workspace/test_replacing_trouble.py"

# Rows of the table in docs/reliability.md, word by word.
SAME_PLAN = "killed at any step, or any call failing (disk full, I/O error): the same plan finishes it"
OTHER_WAYS = (
    "the same, then the source reverted or changed and planned anew, or the state lost and rebuilt: the index equals a "
    "fresh load"
)
POWER_CUT = "a power cut at any step: whatever was not synced is gone, and the same plan, or another, mends it"
SIGKILL = (
    "SIGKILL of a real process at random instants, two sources, changes of all kinds: the index equals a fresh load"
)
PLANNING = "a fault while planning leaves the next plan as it would have been"
KILL_9 = "kill -9 of a real process in mid-apply, then `apply plan.json`: the index equals an undisturbed run's"
MANIFEST = "a plan applied to the state is the manifest; planning again finds nothing"
BATCH = "a batch commits whole or not at all"
NEW_BEFORE_OLD = "no document is missing from the index while it is updated or moved"
SERVER = (
    "a server that drops, delays, refuses or forgets to answer any request: the index equals a fresh load, nothing is "
    "sent more often than said"
)
ONE_WRITER = "one writer: of two schedulers in the same second one wins, or they take turns"
LEASE = "a lease outlives a long batch, and no dead holder, whatever clocks do"
LOST = "a writer that lost its lock, also while it was stopped, writes neither to the state nor to the index"
LOST_MACHINE = (
    "a machine lost with its disk at any step: another one, with an empty folder, finishes the same plan, or another; "
    "the index equals a fresh load"
)
RACE = "two machines that apply in the same instant: one does, the other is told, nothing is lost"
REMOTE_LEASE = (
    "a lease of all machines depends on no clock but the store's, and a holder that lost it writes nothing more"
)
REMOTE_STATE = "no state is written over, lost or taken in half, whatever store and network do"
READERS = "readers never wait for an apply, and do it no harm"
GUARDS = "nothing is wiped unasked, whatever happened to a source and whichever flags are given"
STRANGER = "another repository behind the same name is refused, another clone of the same one is not"
EDITED = "a source that is edited between plan and apply, or during it, leaves no document in two versions"
STALE = "a plan that does not fit any more is refused; points of others are never read, touched or counted"
MIGRATION = "an older state is migrated with all that is in it, or stays as it was"
DRIFT = "what drifted is found, and repaired by the next plan"
REPLACED = (
    "a changed pipeline never has searches answered by half a collection; what is not whole does not take the place, "
    "and a rollback brings the former one back"
)
CARRIED = (
    "documents stay that cannot be read while a collection is replaced, are not listed, or whose text moved on; those "
    "that are gone do not"
)
MODEL_STORY = (
    "from words alone to two models, back, to other chunks and a foreign collection: every search is answered, every "
    "step ends in a fresh load, and what is paid was announced"
)
MODEL_TROUBLE = (
    "a new model that fails amid its load, a full disk, a stranger's alias: the live collection answers, the same plan "
    "goes on, nothing is paid twice"
)
LOST_REPLACEMENT = "a machine lost with its disk amid a replacement: another one finishes it, undoes it, rolls it back"
REBUILD = "a lost state comes back from the points"
RETURNED = "a point survives the death of the process once a write returned"

# What other pages promise.
UNCHANGED_PLAN = "a plan is applied as it was reviewed, to the byte"
SECRETS = "no secret is printed or written anywhere"
PRIVATE = "what is written is its owner's alone"
TERMINAL = "no name of a document acts on a terminal"
RETENTION = "what is older than `state.retention` is forgotten"


@dataclass(frozen=True)
class Mutation:
    """One promise, broken on purpose.

    Attributes:
        name: What it is called on the command line.
        promise: What it breaks: a row of the table in docs/reliability.md, or what another page says.
        broken_by: What is done to the code, in words.
        file: The file, below src/qloader.
        edits: Old and new text, one after the other; each old one is there once.
        tests: The tests that must notice.
        faults_at: Of the calls that the fault rig breaks, those whose name begins like this; empty for all. The rig
            does at them what it does in the suite.
    """

    name: str
    promise: str
    broken_by: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]
    faults_at: str = ""

    def apply(self, tree: Path) -> None:
        """Changes the file in a tree.

        Raises:
            ValueError: The code is not as it was when this was written.
        """
        path = tree / "src" / "qloader" / self.file
        text = path.read_text(encoding="utf-8")
        path.write_text(self.broken(text), encoding="utf-8")

    def broken(self, text: str) -> str:
        """The text of the file with this mutation.

        Raises:
            ValueError: An old text is not there, or not once.
        """
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.name}: {text.count(old)} times in {self.file}, and not once: {old!r}")
            text = text.replace(old, new)
        return text


def _one(
    name: str, promise: str, broken_by: str, file: str, old: str, new: str, *tests: str, faults_at: str = ""
) -> Mutation:
    return Mutation(name, promise, broken_by, file, ((old, new),), tests, faults_at)


_RECORD = "    parts.state.record_intents(run_id, [intent for work in works for intent in work.intents])\n"
_WRITE_BATCH = "_write(works, vectors, run_id, parts)"
_COMMIT_BATCH = "_commit(works, run_id, parts, totals)"
_WRITE_THEN_COMMIT = '                {first}\n            with span("commit", source):\n                {second}\n'
_FLUSH = "    parts.index.flush()\n"
_DELETE = "    if stale:\n        parts.index.delete(stale)\n"

MUTATIONS = (
    # The crash protocol, step by step
    _one(
        "no-intent", OTHER_WAYS, "no intent is written", "applying/executor.py",
        "[intent for work in works for intent in work.intents]", "[]", CHANGES,
        faults_at="EmbeddedIndex.set_payloads#1",
    ),
    Mutation(
        "intent-after-points", OTHER_WAYS, "the intent is written after the points", "applying/executor.py",
        ((_RECORD, ""), (_FLUSH, _FLUSH + _RECORD)), (CHANGES,), "EmbeddedIndex.set_payloads#1",
    ),
    _one(
        "intents-not-planned", OTHER_WAYS, "a plan does not look at the intents", "workspace/planning.py",
        "intents=tuple(state.intents()),", "intents=(),", CHANGES,
        faults_at="EmbeddedIndex.set_payloads#1",
    ),
    _one(
        "intents-replaced", OTHER_WAYS, "a second intent of a document forgets the first one's points",
        "state/rows.py", "dict.fromkeys((*earlier, *intent.points))", "dict.fromkeys(intent.points)",
        f"{STORE}::test_an_intent_stays_until_its_document_is_committed",
    ),
    _one(
        "intents-never-settled", SAME_PLAN, "a committed batch leaves its intents", "state/rows.py",
        "        [*((r.source, r.id) for r in written), *deleted],\n", "            [],\n",
        f"{STORE}::test_an_intent_stays_until_its_document_is_committed",
    ),
    Mutation(
        "move-wrong-id", OTHER_WAYS, "a move's intent names its old points under the new id", "applying/work.py",
        (("IntentRecord(change.source, change.from_id, _unique(*removed",
          "IntentRecord(change.source, change.id, _unique(*removed"),), (CHANGES,), "EmbeddedIndex.",
    ),
    _one(
        "commit-before-points", SAME_PLAN, "the state is committed before the points are written",
        "applying/executor.py",
        _WRITE_THEN_COMMIT.format(first=_WRITE_BATCH, second=_COMMIT_BATCH),
        _WRITE_THEN_COMMIT.format(first=_COMMIT_BATCH, second=_WRITE_BATCH), CHANGES,
        faults_at="EmbeddedIndex.upsert",
    ),
    _one(
        "repair-taken-for-done", SAME_PLAN, "the same plan again skips a repair, since the document's hash is right",
        "applying/preparing.py",
        '    if change.action == "repair" or (change.source, change.id) in intents:\n        return False\n', "",
        f"{REFRESHING}::test_a_repair_that_is_cut_short_is_finished_by_the_same_plan",
    ),
    _one(
        "touched-points-kept", SAME_PLAN, "points that an interrupted batch touched are kept as if they were there",
        "applying/work.py", "frozenset(i for i in ids if i in old and i not in touched)",
        "frozenset(i for i in ids if i in old)", CHANGES,
        faults_at="EmbeddedIndex.flush",
    ),
    _one(
        "touched-points-lend", SAME_PLAN, "a point that an interrupted batch touched lends its vector to a move",
        "applying/work.py", "{digest: point for point, digest in old.items() if point not in touched}",
        "{digest: point for point, digest in old.items()}",
        "tests/applying/test_touched_points.py",
    ),
    _one(
        "touched-points-left", OTHER_WAYS, "points of an intent that no document needs any more stay",
        "applying/work.py", "for i in (*old, *sorted(touched)) if i not in new_ids", "for i in old if i not in new_ids",
        CHANGES, faults_at="EmbeddedIndex.",
    ),
    _one(
        "labels-not-repaired", OTHER_WAYS, "an intent of a batch that only re-labelled points is a mistake to a plan",
        "planning/planner.py",
        '    return "repair", DRIFTED if difference.is_drift else UNFINISHED\n',
        "    assert difference.intent\n"
        '    return "repair", DRIFTED if difference.is_drift else UNFINISHED\n',
        "tests/applying/test_touched_points.py::"
        "test_a_new_title_that_was_cut_short_is_repaired_where_it_is_taken_back_and_else_brought",
    ),
    _one(
        "stale-before-new", NEW_BEFORE_OLD, "stale points are deleted before the new ones are written",
        "applying/executor.py", "    if new:\n        parts.index.upsert(new)\n",
        f"{_DELETE}    if new:\n        parts.index.upsert(new)\n", ORDER,
    ),
    _one(
        "never-flushed", POWER_CUT, "the index is never flushed", "applying/executor.py", _FLUSH, "",
        "tests/faults/test_power_cut.py",
    ),
    Mutation(
        "commit-before-flush", POWER_CUT, "the state is committed before the index is flushed", "applying/executor.py",
        ((_FLUSH, ""), ("    totals.actions.update(", f"{_FLUSH}    totals.actions.update(")),
        ("tests/faults/test_power_cut.py",),
    ),
    _one(
        "state-not-synced", POWER_CUT, "SQLite does not sync its log when a batch is committed", "state/database.py",
        "PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL", "tests/faults/test_power_cut.py",
    ),
    Mutation(
        "no-transaction-rig", SAME_PLAN, "each statement of a batch commits by itself", "state/store.py",
        (('            self._connection.execute("BEGIN IMMEDIATE")\n', ""),
         ('                self._connection.execute("COMMIT")\n', "")), (CHANGES,), "sqlite state",
    ),
    Mutation(
        "no-transaction", BATCH, "each statement of a batch commits by itself", "state/store.py",
        (('            self._connection.execute("BEGIN IMMEDIATE")\n', ""),
         ('                self._connection.execute("COMMIT")\n', "")),
        (f"{STORE}::test_a_batch_that_fails_changes_nothing",
         f"{STORE}::test_a_batch_that_fails_at_any_statement_changes_nothing"),
    ),
    _one(
        "commit-before-points-and-kills", SIGKILL, "the state is committed before the points are written",
        "applying/executor.py",
        _WRITE_THEN_COMMIT.format(first=_WRITE_BATCH, second=_COMMIT_BATCH),
        _WRITE_THEN_COMMIT.format(first=_COMMIT_BATCH, second=_WRITE_BATCH),
        "tests/faults/test_campaign.py",
    ),
    _one(
        "no-way-on", KILL_9, "a plan that was begun is taken for a stale one", "applying/preconditions.py",
        "last.plan == plan.digest and last.last_serial == header.serial", "False",
        "tests/cli/test_kill.py::test_a_first_load_that_is_killed_is_finished_by_the_same_plan",
    ),
    _one(
        "half-snapshot-trusted", PLANNING, "a snapshot that is being made stands in the cache as a finished one",
        "manifest/snapshot.py", "            self._cache.save_snapshot(source, CachedSnapshot.begun(selection))\n", "",
        "tests/faults/test_fault_rig.py::test_every_fault_while_planning_leaves_the_next_plan_as_it_would_have_been",
        "tests/manifest/test_snapshot.py::test_a_snapshot_that_was_cut_short_leads_no_later_one_astray",
    ),
    _one(
        "run-not-failed", SAME_PLAN, "a run that was killed stays `running`", "state/store.py",
        "UPDATE run SET status = 'failed', error_message = 'interrupted'",
        "UPDATE run SET status = 'running', error_message = 'interrupted'",
        f"{STORE}::test_a_run_that_was_killed_is_marked_as_failed_by_the_next",
    ),
    _one(
        "ids-by-chance", SAME_PLAN, "the second of two equal chunks gets the first one's point", "documents/hashing.py",
        'b"%d" % occurrence', 'b"0"',
        "tests/cli/test_odd_documents.py::test_a_paragraph_that_is_there_many_times_is_a_point_each_time",
    ),
    _one(
        "written-later", RETURNED, "the embedded index holds points back until it is flushed", "index/embedded.py",
        "            self._update(UpdateOperation.upsert_points(edge), weight)\n",
        "            self._later = [*getattr(self, '_later', []), (UpdateOperation.upsert_points(edge), weight)]\n"
        "            if not hasattr(self, '_is_patched'):\n"
        "                self._is_patched, flush = True, self.flush\n"
        "                self.flush = lambda: ([self._update(*each) for each in self._later], flush())\n",
        "tests/index/test_embedded_index.py::test_what_was_written_survives_the_death_of_its_process",
    ),
    _one(
        "server-not-waited-for", RETURNED, "an upsert on a server returns before the points are there",
        "index/server.py", '"upsert", points=structs, wait=True', '"upsert", points=structs, wait=False',
        "tests/index/test_server_index.py::test_every_write_waits_until_the_server_has_it",
    ),
    # The planner
    _one(
        "metadata-not-compared", MANIFEST, "the join does not compare metadata", "planning/diff.py",
        " OR m.metadata <> d.metadata", "",
        "tests/planning/test_planner_properties.py::test_a_changed_title_is_an_update_that_embeds_nothing",
    ),
    _one(
        "moved-twice", MANIFEST, "one deleted document becomes two created ones", "planning/diff.py",
        "old = same_name.popleft()", "old = same_name[0]",
        "tests/planning/test_planner_properties.py::test_one_deleted_document_is_moved_to_one_place_alone",
    ),
    _one(
        "incomplete-deletes", GUARDS, "an incomplete listing deletes what it does not show", "planning/diff.py",
        "WHERE scope.complete = ? AND d.is_deleted = 0", "WHERE scope.complete <= ? AND d.is_deleted = 0",
        "tests/planning/test_planner_properties.py::test_an_incomplete_listing_deletes_and_moves_nothing",
        "tests/planning/test_guards.py::test_an_incomplete_listing_deletes_nothing_even_if_it_were_allowed",
    ),
    # Guards
    _one(
        "percentage-ignored", GUARDS, "`guards.max_delete_percent` is ignored", "planning/guards.py",
        '        yield _Refusal(name, f"{share} ({percent:.1f} %); guards.max_delete_percent is {limit:g}")\n',
        "        pass\n",
        "tests/planning/test_guards.py::test_whatever_happened_to_a_source_no_command_deletes_it_unasked",
    ),
    _one(
        "empty-allowed", GUARDS, "a source that is empty now may lose all", "planning/guards.py",
        "    if tally.deletes and is_empty:\n", "    if False:\n",
        "tests/planning/test_guards.py::test_an_emptied_source_needs_the_flag_where_no_percentage_is_set",
    ),
    _one(
        "flag-for-all", GUARDS, "`--allow-deletes` of one source lets every source go", "planning/guards.py",
        "        elif name not in passes:\n", "        elif not passes:\n",
        "tests/planning/test_guards.py::test_the_flag_for_one_source_does_not_let_another_go",
    ),
    _one(
        "destroy-not-prevented", GUARDS, "`guards.prevent_destroy` is ignored", "planning/guards.py",
        "        if limits.prevent_destroy and", "        if False and",
        "tests/planning/test_guards.py::test_prevent_destroy_holds_whatever_is_allowed",
    ),
    _one(
        "guards-not-asked-again", GUARDS, "an apply does not ask the guards", "workspace/applying.py",
        "            _check_guards(settings, plan, records)\n", "            pass\n",
        "tests/cli/test_guards_on_the_command_line.py::test_guards_are_asked_again_when_a_plan_is_applied",
        "tests/workspace/test_identity.py::test_an_apply_asks_again_of_a_plan_that_nobody_refused",
    ),
    _one(
        "stranger-accepted", STRANGER, "another repository is taken for the old one", "workspace/identities.py",
        "    return not source.confirms(record.identity)\n", "    return False\n",
        "tests/workspace/test_identity.py::"
        "test_another_repository_under_the_same_name_is_refused_with_numbers_and_the_flag",
    ),
    _one(
        "clone-refused", STRANGER, "another clone of the same repository is taken for another one",
        "workspace/identities.py", "    return not source.confirms(record.identity)\n", "    return True\n",
        "tests/workspace/test_identity.py::test_the_same_repository_elsewhere_is_the_same_source",
    ),
    # Nothing unreviewed
    _one(
        "text-not-verified", EDITED, "a fetched text is not compared with the planned hash", "applying/preparing.py",
        "same_text = result.content.hex() == change.after.content", "same_text = True",
        "tests/applying/test_concurrent_change.py::"
        "test_what_moved_on_since_the_plan_is_left_as_it_was_and_the_rest_is_done",
    ),
    _one(
        "metadata-not-verified", EDITED, "a fetched title is not compared with the planned hash",
        "applying/preparing.py",
        "    if same_text and same_metadata:\n", "    if same_text:\n",
        "tests/applying/test_concurrent_change.py::"
        "test_what_moved_on_since_the_plan_is_left_as_it_was_and_the_rest_is_done",
    ),
    _one(
        "one-failure-stops-all", EDITED, "one document that moved on stops the run", "applying/preparing.py",
        '    what = "text" if not same_text else "title, uri or metadata"\n',
        '    raise SourceError("one document moved on", remedy="Plan again.")\n'
        '    what = "text" if not same_text else "title, uri or metadata"\n',
        "tests/applying/test_concurrent_change.py::"
        "test_what_was_left_is_listed_recorded_and_brought_by_the_next_plan",
    ),
    _one(
        "stale-plan-accepted", STALE, "a plan that rests on an older serial is applied", "applying/preconditions.py",
        "    raise StalePlanError(_why_stale(plan, header, last), remedy=", "    return None\n    _ = dict(remedy=",
        "tests/applying/test_stale_and_foreign.py::"
        "test_a_plan_of_an_older_serial_is_refused_and_says_what_changed_since",
    ),
    _one(
        "serial-not-raised", STALE, "a batch does not raise the serial", "state/store.py",
        "    def _advance(connection: sqlite3.Connection, run_id: int) -> int:\n"
        "        connection.execute(\"UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'serial'\")\n",
        "    def _advance(connection: sqlite3.Connection, run_id: int) -> int:\n",
        f"{STORE}::test_the_first_run_gives_a_lineage_and_each_commit_raises_the_serial",
    ),
    _one(
        "serial-not-raised-at-start", STALE, "a run does not raise the serial when it begins", "state/store.py",
        'serial = int(meta.get("serial", "0")) + 1\n', 'serial = int(meta.get("serial", "0"))\n',
        f"{STORE}::test_the_first_run_gives_a_lineage_and_each_commit_raises_the_serial",
    ),
    _one(
        "other-config-accepted", STALE, "a plan of another config is applied", "applying/preconditions.py",
        "    if differing:\n", "    if False:\n",
        "tests/applying/test_stale_and_foreign.py::test_a_plan_of_another_config_is_refused_with_what_differs",
    ),
    _one(
        "foreign-collection-accepted", STALE, "a collection of another state is written to",
        "applying/preconditions.py",
        "    if info.lineage == ours:\n", "    if info.lineage is not None:\n",
        "tests/applying/test_stale_and_foreign.py::"
        "test_a_servers_collection_of_another_lineage_is_refused_with_the_ways_out",
    ),
    _one(
        "foreign-points-counted", STALE, "points are looked for without their lineage", "index/protocol.py",
        "    if lineage is not None:\n        fields[LINEAGE] = lineage\n", "",
        "tests/applying/test_stale_and_foreign.py::test_points_of_others_are_never_read_touched_or_counted",
        "tests/index/test_index_contract.py",
    ),
    _one(
        "digest-not-checked", UNCHANGED_PLAN, "a plan's digest is not checked", "planning/planfile.py",
        '    if fields["digest"] != digest:\n', "    if False:\n",
        "tests/planning/test_planfile.py::test_every_changed_byte_is_refused",
    ),
    # One writer
    _one(
        "lease-given-to-two", ONE_WRITER, "a lease that somebody holds is given away", "state/lock.py",
        "        is_free = held is None or is_abandoned(held, now)\n", "        is_free = True\n",
        f"{STORE}::test_a_second_writer_is_told_who_holds_the_state_and_since_when",
        f"{LOCK}::test_of_two_schedulers_that_start_in_the_same_second_one_wins_or_both_take_turns[0]",
    ),
    Mutation(
        "lease-looked-at-too-early", ONE_WRITER, "the lease is looked at before the transaction that takes it",
        "state/lock.py",
        (('    connection.execute("BEGIN IMMEDIATE")\n    try:\n        held = current_lease(connection)\n',
          '    held = current_lease(connection)\n    connection.execute("BEGIN IMMEDIATE")\n    try:\n'),),
        (f"{LOCK}::test_who_waits_to_take_the_lease_looks_who_has_it_when_its_turn_comes",
         f"{LOCK}::test_of_two_schedulers_that_start_in_the_same_second_one_wins_or_both_take_turns"),
    ),
    _one(
        "never-renewed", LEASE, "the background does not renew the lease", "state/renewing.py",
        "                    lock.renew(connection, self._lease)\n", "                    pass\n",
        f"{LOCK}::test_a_lease_is_renewed_again_and_again_while_one_batch_takes_long",
    ),
    _one(
        "dead-keeps-lease", LEASE, "a dead holder keeps its lease", "state/process.py",
        "    return found == started\n", "    return True\n",
        f"{LOCK}::test_a_living_process_of_this_host_keeps_its_lease_whatever_the_clock_says",
    ),
    _one(
        "number-given-out-again", LEASE, "a process that got a dead holder's number keeps its lease",
        "state/process.py", "    return found == started\n", "    return bool(found)\n",
        f"{LOCK}::test_a_process_that_got_the_number_of_a_dead_one_does_not_keep_its_lease",
    ),
    _one(
        "clock-believed", LEASE, "a lease that a wrong clock dated too late never runs out", "state/lock.py",
        "    return min(lease.expires_at, seen_at + LEASE_MS)\n", "    return lease.expires_at\n",
        f"{LOCK}::test_a_lease_that_a_clock_dated_too_late_runs_out_for_whoever_waits_for_it",
    ),
    _one(
        "elsewhere-taken-for-dead", LEASE, "a holder in another container is taken for dead", "state/lock.py",
        "process.boot_of(lease.machine) != process.boot_of(here) else None", "True else None",
        f"{LOCK}::test_another_container_under_the_same_host_name_is_not_taken_for_dead",
    ),
    _one(
        "state-not-fenced", LOST, "a transaction does not look at the lease", "state/store.py",
        "                lock.renew(self._connection, lease)\n                yield", "                yield",
        f"{STORE}::test_a_writer_that_lost_its_lock_can_commit_nothing",
    ),
    _one(
        "index-not-fenced", LOST, "the index is not told to look at the lease", "workspace/applying.py",
        "settings.open_index(guard=state.confirm, is_patient=True)", "settings.open_index(is_patient=True)",
        f"{LOCK}::test_a_writer_that_loses_its_lease_writes_nothing_after_that",
    ),
    _one(
        "embedded-upsert-not-fenced", LOST, "an embedded index writes points without a look at the lease",
        "index/embedded.py",
        "            self._guard()\n            self._update(UpdateOperation.upsert_points(edge), weight)\n",
        "            self._update(UpdateOperation.upsert_points(edge), weight)\n",
        f"{LOCK}::test_a_writer_that_loses_its_lease_writes_nothing_after_that",
    ),
    _one(
        "embedded-delete-not-fenced", LOST, "an embedded index deletes points without a look at the lease",
        "index/embedded.py",
        "            self._guard()\n            self._update(UpdateOperation.delete_points(list(batch)))\n",
        "            self._update(UpdateOperation.delete_points(list(batch)))\n",
        f"{LOCK}::test_a_writer_that_loses_its_lease_writes_nothing_after_that",
    ),
    _one(
        "server-not-fenced", LOST, "requests to a server are sent without a look at the lease", "index/server.py",
        "before=allow if what in _LOOKS else self._guard", "before=allow",
        f"{LOCK}::test_a_writer_that_loses_its_lease_writes_nothing_after_that",
    ),
    _one(
        "repeat-not-fenced", LOST, "a request is sent again without another look", "index/asking.py",
        "    while True:\n        tries += 1\n        before()\n",
        "    before()\n    while True:\n        tries += 1\n",
        f"{LOCK}::test_a_writer_that_loses_its_lease_while_it_waits_for_a_server_does_not_try_again",
    ),
    _one(
        "look-believes-anything", LOST, "a lease that is another's by now passes for ours", "state/lock.py",
        "    return row is not None and LEASE_MS // 2 <= row[0] - now_ms() <= LEASE_MS\n", "    return True\n",
        f"{LOCK}::test_whoever_lost_the_lease_is_told_and_to_whom",
    ),
    _one(
        "no-readers-beside", READERS, "the state has no write-ahead log", "state/database.py",
        "PRAGMA journal_mode = WAL", "PRAGMA journal_mode = DELETE",
        f"{STORE}::test_a_reader_in_the_middle_of_a_list_holds_up_no_writer_and_reads_on_as_it_began",
    ),
    _one(
        "reader-opens-held-index", READERS, "an index is opened without its folder's lock", "index/embedded.py",
        "            if self._shard is None:\n                self._lock.take(self._lock_wait)\n",
        "            if self._shard is None:\n",
        "tests/index/test_embedded_index.py::test_the_engine_is_not_called_while_somebody_has_the_folder",
    ),
    # A server that fails
    _one(
        "no-retries", SERVER, "nothing is sent again", "index/asking.py",
        "tries > retries.attempts:", "True:",
        f"{FAULTS}::test_an_apply_whose_every_request_fails_once_does_what_an_undisturbed_one_does",
    ),
    _one(
        "refusal-retried", SERVER, "what will not pass is sent again", "index/asking.py",
        "if not failure.may_pass or tries > retries.attempts:", "if tries > retries.attempts:",
        f"{FAULTS}::test_a_refusal_is_not_asked_for_twice",
    ),
    _one(
        "retry-limit-ignored", SERVER, "a request is sent again without end", "index/asking.py",
        "if not failure.may_pass or tries > retries.attempts:", "if not failure.may_pass:",
        f"{FAULTS}::test_a_server_that_is_not_there_is_asked_as_often_as_the_config_says",
    ),
    _one(
        "retry-after-ignored", SERVER, "`Retry-After` is ignored", "retrying.py",
        "min(max(grown, wanted), max(LONGEST_WAIT, self.delay))", "min(grown, max(LONGEST_WAIT, self.delay))",
        f"{FAULTS}::test_a_server_that_says_how_long_is_waited_for",
    ),
    _one(
        "not-halved", SERVER, "a request that is too large is an error at once", "index/server.py",
        "                if len(items) == 1:\n                    raise\n", "                raise\n",
        f"{FAULTS}::test_a_request_that_is_too_large_is_sent_in_parts",
    ),
    _one(
        "search-waits", SERVER, "a search is tried again while somebody waits", "workspace/settings.py",
        "retries=self.retries if is_patient else NO_RETRIES", "retries=self.retries",
        f"{FAULTS}::test_a_person_who_waits_for_one_answer_is_told_at_once",
    ),
    # Drift and rebuild
    _one(
        "missing-not-found", DRIFT, "missing points are no drift", "refreshing/drift.py",
        "WHEN f.point IS NULL THEN 'missing'", "WHEN f.point IS NULL THEN NULL",
        f"{REFRESHING}::test_missing_altered_and_orphaned_points_are_told_apart",
    ),
    _one(
        "altered-not-found", DRIFT, "altered points are no drift", "refreshing/drift.py",
        " OR f.sum <> e.sum", "",
        f"{REFRESHING}::test_missing_altered_and_orphaned_points_are_told_apart",
    ),
    _one(
        "orphaned-not-found", DRIFT, "orphaned points are no drift", "refreshing/drift.py",
        "WHERE NOT EXISTS (SELECT 1 FROM expected", "WHERE FALSE AND NOT EXISTS (SELECT 1 FROM expected",
        f"{REFRESHING}::test_missing_altered_and_orphaned_points_are_told_apart",
    ),
    _one(
        "vectors-not-compared", DRIFT, "a deep refresh does not compare vectors", "refreshing/drift.py",
        "payload_check(point.payload) if same else b\"\"", "payload_check(point.payload)",
        f"{REFRESHING}::test_only_a_deep_refresh_compares_vectors",
    ),
    _one(
        "repair-finds-nothing", DRIFT, "a repair does not look at the document's points", "applying/faults.py",
        "if expected.get(key) != found.get(key))", "if False)",
        f"{REFRESHING}::test_plan_with_refresh_finds_the_same_without_writing_the_state",
    ),
    _one(
        "half-document-trusted", REBUILD, "a document of which a point is missing is believed", "refreshing/rebuild.py",
        "        and [row[2] for row in rows] == list(range(chunks))\n", "",
        f"{REFRESHING}::test_a_rebuild_of_a_spoilt_index_believes_only_what_adds_up",
    ),
    _one(
        "old-plans-after-rebuild", REBUILD, "a rebuilt state takes up an old serial", "state/store.py",
        'serial = max(int(meta.get("serial", "0")), now // 1000) + 1', 'serial = int(meta.get("serial", "0"))',
        f"{REFRESHING}::test_a_rebuild_over_a_state_that_is_there_keeps_a_copy_and_makes_older_plans_stale",
    ),
    # A state that several machines share
    _one(
        "nothing-announced", LOST_MACHINE, "the index is written before the store knows of the run",
        "state/remote/session.py",
        "                ((source, document_id, run_id) for source, document_id in documents),\n            )\n"
        "        self._put()\n",
        "                ((source, document_id, run_id) for source, document_id in documents),\n            )\n",
        f"{REMOTE}/test_lost_machines.py::test_a_first_load_that_is_lost_is_finished_elsewhere",
    ),
    _one(
        "doubt-believed", LOST_MACHINE, "an apply does not look into the index for documents in doubt",
        "applying/preparing.py", '    if intent.reason != "announced":\n', "    if intent.reason:\n",
        f"{REMOTE}/test_lost_machines.py::test_a_first_load_that_is_lost_is_finished_elsewhere",
        f"{REMOTE}/test_lost_machines.py::test_another_machine_finishes_what_a_lost_one_began",
    ),
    _one(
        "two-pipelines-believed", LOST_MACHINE, "vectors of a lost run's pipeline are kept", "applying/preparing.py",
        "if parts.is_mixed and before is not None else ()", "if before is None and before is not None else ()",
        f"{REMOTE}/test_lost_machines.py::test_vectors_of_a_pipeline_that_was_given_up_are_not_believed",
    ),
    _one(
        "remote-lock-taken-away", RACE, "the lock of a living machine is taken", "state/remote/lock.py",
        "if note is not None and note.lease is not None and not _is_abandoned(store, note):", "if False:",
        f"{REMOTE}/test_races.py", f"{REMOTE}/test_remote_lock.py",
    ),
    _one(
        "store-not-tried", RACE, "a store without conditional writes is used", "state/remote/lock.py",
        "            held._check_store()\n", "            pass\n",
        f"{REMOTE}/test_shared_state.py::test_a_store_without_conditional_writes_is_refused_with_the_reason",
    ),
    _one(
        "holder-s-clock-believed", REMOTE_LEASE, "a lease runs out by its holder's clock", "state/remote/lock.py",
        "_store_time(store) - note.modified >= timedelta(milliseconds=lock.LEASE_MS)",
        "lock.now_ms() >= note.lease.expires_at",
        f"{REMOTE}/test_remote_lock.py",
    ),
    _one(
        "remote-lock-not-confirmed", REMOTE_LEASE, "the index is written without a look at the lock of all machines",
        "state/remote/session.py",
        "        if self._held is not None:\n            self._held.confirm()\n        super().confirm()\n",
        "        super().confirm()\n",
        f"{REMOTE}/test_remote_lock.py::test_an_apply_that_lost_the_lock_writes_nothing_more_to_the_index",
    ),
    _one(
        "state-put-over-another", REMOTE_STATE, "the state is put whatever is there", "state/remote/session.py",
        "            version = store.put(store.name, parcel, over=notes.version)\n",
        "            version = store.overwrite(store.name, parcel)\n",
        f"{REMOTE}/test_shared_state.py::test_a_state_that_somebody_else_put_meanwhile_is_not_written_over",
    ),
    Mutation(
        "cut-short-taken", REMOTE_STATE, "an object that is cut short is taken", "state/remote/parcel.py",
        (("    if length < label.length:\n", "    if length < 0:\n"),
         ("    if length != label.length or digest.hexdigest() != label.sha256 or not opener.eof:\n",
          "    if length < 0:\n")),
        (f"{REMOTE}/test_shared_state.py::test_an_object_that_is_cut_short_is_told_and_nothing_of_it_taken",),
    ),
    _one(
        "ahead-thrown-away", REMOTE_STATE, "a copy that is ahead of the store is replaced", "state/remote/copy.py",
        "            self._set_aside(label)\n", "            pass\n",
        f"{REMOTE}/test_shared_state.py::test_a_copy_that_is_ahead_of_a_state_that_went_on_is_kept_aside",
    ),
    # The state
    Mutation(
        "migration-without-transaction", MIGRATION, "each statement of a migration commits by itself",
        "state/migrate.py",
        (('            connection.execute("BEGIN IMMEDIATE")\n', ""),
         ('            connection.execute("COMMIT")\n', "")),
        ("tests/state/test_migrations.py::test_a_migration_that_fails_at_any_statement_leaves_the_state_as_it_was",),
    ),
    _one(
        "no-backup", MIGRATION, "no backup is made before a migration", "state/database.py",
        "                if backup_before_migrate:\n", "                if False:\n",
        "tests/state/test_migrations.py::"
        "test_an_older_state_is_brought_up_to_date_with_all_that_is_in_it_after_a_backup",
    ),
    _one(
        "never-pruned", RETENTION, "tombstones are never forgotten", "state/accounts.py",
        '"DELETE FROM document WHERE is_deleted = 1 AND last_ingested < ?"',
        '"DELETE FROM document WHERE is_deleted = 2 AND last_ingested < ?"',
        "tests/state/test_retention.py::test_old_tombstones_and_runs_are_forgotten_at_the_end_of_an_apply",
    ),
    # A collection in the place of another
    _one(
        "switch-before-whole", REPLACED, "a load that was stopped takes the place of the live collection",
        "workspace/replacing.py",
        "            if not totals.stopped:\n                changes = self._put_in_place(run_id, name, live)\n",
        "            if True:\n                changes = self._put_in_place(run_id, name, live)\n",
        f"{REPLACING}::test_a_stopped_replacement_changes_nothing_and_goes_on",
    ),
    _one(
        "points-not-counted", REPLACED, "a new collection is not counted before it takes the place",
        "workspace/replacing.py", "    if wanted != found:\n", "    if False:\n",
        f"{REPLACING}::test_a_collection_that_lost_points_while_it_was_made_does_not_take_the_place",
    ),
    _one(
        "strangers-deleted", REPLACED, "collections of others beside the live one are removed with our own",
        "workspace/replacing.py", "if info is None or info.is_shared or info.lineage != lineage:", "if info is None:",
        f"{REPLACING}::test_a_stranger_in_the_place_of_the_new_collection_is_left_alone",
    ),
    Mutation(
        "rollback-without-copy", REPLACED, "what the state says of the former collection is not kept",
        "workspace/replacing.py",
        (("    state.copy_to(new, permissions=settings.config.state.permissions)\n", ""),
         ("    if is_kept:\n        new.replace(settings.replaced_state)\n", "    if False:\n        pass\n")),
        (f"{REPLACING}::test_what_was_rolled_back_comes_again_without_being_made_anew",),
    ),
    _one(
        "carry-left-out", CARRIED, "a document that moved on is not taken into the new collection",
        "applying/preparing.py", "works += _carry(kept, parts, parts.live, self._intents)", "pass",
        f"{REPLACING}::test_a_document_that_moved_on_stays_as_it_was_in_the_new_collection",
    ),
    _one(
        "sweep-left-out", CARRIED, "what an earlier plan brought into the new collection stays there",
        "workspace/replacing.py", "            if not totals.stopped and not is_fresh:\n", "            if False:\n",
        f"{REPLACING}::test_a_new_plan_goes_on_with_what_was_begun_and_removes_what_is_gone_since",
    ),
    _one(
        "unlisted-cut-anew", CARRIED, "a document that is not listed is read and cut anew, which no plan announced",
        "applying/preparing.py", "if parts.live is None or not is_unseen(c)", "if True",
        "tests/workspace/test_incomplete_replacing.py::"
        "test_what_a_listing_does_not_show_stays_as_it_is_and_is_cut_anew_when_it_is_shown",
    ),
    _one(
        "asked-by-the-config", MODEL_STORY, "a question is embedded by the model of the config, not of the collection",
        "workspace/searching.py", "index.filled_by() or header.pipeline)", "settings.pipeline.fingerprint)",
        "tests/workspace/test_model_change_story.py",
    ),
    _one(
        "text-left-behind", MODEL_TROUBLE, "a document that the new model does not take is lost by the switch",
        "workspace/replacing.py", "    if totals.homeless:\n", "    if False:\n",
        f"{REPLACING_TROUBLE}::test_a_text_that_the_new_model_does_not_take_keeps_the_live_collection_in_its_place",
    ),
    _one(
        "paid-twice", MODEL_TROUBLE, "what came back of a batch before one text failed is not kept",
        "embedding/dense/embedder.py", "            if error.came_back:\n", "            if False:\n",
        f"{REPLACING_TROUBLE}::test_a_text_that_the_new_model_does_not_take_keeps_the_live_collection_in_its_place",
    ),
    _one(
        "alias-taken-back", MODEL_TROUBLE, "an alias that somebody else moved meanwhile is moved again",
        "workspace/replacing.py", "    if found not in (None, live, to):\n", "    if False:\n",
        f"{REPLACING_TROUBLE}::test_an_alias_that_a_stranger_took",
    ),
    _one(
        "points-not-read", LOST_REPLACEMENT, "what a lost machine brought into the new collection is not read back",
        "workspace/replacing.py", "            elif info.points:\n", "            elif False:\n",
        f"{REMOTE}/test_replacing_on_lost_machines.py::test_another_machine_goes_on_and_has_all",
    ),
    # Security
    _one(
        "key-printed", SECRETS, "what a server repeats of the API key is printed", "index/server_errors.py",
        'failure.words.replace(secret, "***") if secret else failure.words', "failure.words",
        "tests/security/test_canary.py", "tests/index/test_server_index.py",
    ),
    _one(
        "key-in-traceback", SECRETS, "what a server repeats of the API key is in the traceback", "index/asking.py",
        "None if secret and secret in str(error) else error", "error",
        "tests/security/test_canary.py", "tests/index/test_server_index.py",
    ),
    Mutation(
        "state-readable", PRIVATE, "the state is made with the mode that the umask says", "state/database.py",
        (("os.open(path, os.O_CREAT | os.O_RDWR, permissions)", "os.open(path, os.O_CREAT | os.O_RDWR, 0o666)"),
         ("        os.fchmod(descriptor, permissions)\n", "")),
        ("tests/security/test_file_modes.py",),
    ),
    _one(
        "escapes-raw", TERMINAL, "names are printed as they are", "render/escape.py",
        "    return _SEARCH.sub(_escape, text)\n", "    return text\n", "tests/security/test_terminal_escapes.py",
    ),
)  # fmt: skip
"""All of them, in the order of the table."""
