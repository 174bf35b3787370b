"""Dispatch's statements, each with the reason for its shape."""


def paused(message: str) -> str:
    return (
        f"EXISTS (SELECT 1 FROM journeys j WHERE j.id = {message}.journey"  # noqa: S608 - our names
        " AND j.status = 'paused')"
    )


def _due(category: str, limit: str) -> str:
    return f"""
  SELECT m.partition, m.customer FROM messages m
  WHERE m.status = 'queued' AND m.waits_for IS NULL AND m.category = '{category}'
    AND m.not_before <= $1 AND NOT {paused("m")}
  ORDER BY m.not_before LIMIT {limit} FOR UPDATE OF m SKIP LOCKED"""  # noqa: S608


# Due messages, transactional ones first (`category DESC`) and oldest first; of the lines that wait
# for a rate, as many as there are places ($3, $4), in deciding order; then all that is due of the
# same customers: one customer's messages are decided together. Of more than fit, the earliest in
# deciding order are taken. The claim is the lock on the row until the end of the transaction; locks
# of others are skipped, never waited for. With them the customers are locked: until the end of the
# transaction nobody else decides about them. In ascending order, so that two dispatchers never wait
# for each other.
CLAIM = f"""
WITH urgent AS MATERIALIZED ({_due("transactional", "$2")}
), other AS MATERIALIZED ({_due("marketing", "(SELECT $2 - count(*) FROM urgent)")}
), waiting AS MATERIALIZED (
  SELECT w.partition, w.customer FROM unnest($3::text[], $4::int[]) AS l(line, places)
  CROSS JOIN LATERAL (
    SELECT m.partition, m.customer FROM messages m
    WHERE m.status = 'queued' AND m.waits_for = l.line AND m.not_before <= $1
      AND NOT {paused("m")}
    ORDER BY m.category DESC, m.decidable_at, m.priority DESC LIMIT l.places
    FOR UPDATE OF m SKIP LOCKED
  ) w
), whole AS MATERIALIZED (
  SELECT m.partition, m.id, m.customer, m.category, m.created_at, m.decidable_at, m.priority,
    m.journey, m.step
  FROM (SELECT * FROM urgent UNION SELECT * FROM other UNION SELECT * FROM waiting) d
  JOIN messages m ON m.partition = d.partition AND m.customer = d.customer
  WHERE m.status = 'queued' AND m.status <> 'decided' AND m.not_before <= $1 AND NOT {paused("m")}
  FOR UPDATE OF m SKIP LOCKED
), ours AS MATERIALIZED (
  SELECT partition, id, customer FROM whole
  ORDER BY category DESC, decidable_at, priority DESC, journey COLLATE "C", step COLLATE "C",
    created_at, id COLLATE "C"
  LIMIT $2
), locked AS MATERIALIZED (
  SELECT pg_advisory_xact_lock(k) FROM (
    SELECT DISTINCT hashtextextended(customer, partition) AS k FROM ours ORDER BY k
  ) c
)
SELECT partition, id FROM ours WHERE (SELECT count(*) FROM locked) > 0
"""  # noqa: S608 - no values from outside


def _next_due(category: str) -> str:
    return f"""
  (SELECT m.not_before FROM messages m
  WHERE m.status = 'queued' AND m.waits_for IS NULL AND m.category = '{category}'
    AND NOT {paused("m")} ORDER BY m.not_before LIMIT 1)"""  # noqa: S608


NEXT_DUE = f"SELECT least({_next_due('transactional')}, {_next_due('marketing')})"

# The rates, which are few, and whether somebody waits for them.
LINES = f"""
SELECT r.line, r.rate, r.next_at, EXISTS (
  SELECT 1 FROM messages m
  WHERE m.status = 'queued' AND m.waits_for = r.line AND NOT {paused("m")}
) AS waited_for
FROM send_rates r
"""  # noqa: S608

# In ascending order, so that two dispatchers never wait for each other.
NEW_RATES = """
INSERT INTO send_rates (line, rate, next_at)
SELECT * FROM unnest($1::text[], $2::float[], $3::timestamptz[]) ORDER BY 1 ON CONFLICT DO NOTHING
"""
LOCK_RATES = """
SELECT line, rate, next_at FROM send_rates WHERE line = ANY ($1::text[]) ORDER BY line FOR UPDATE
"""
SET_RATES = """
UPDATE send_rates r SET rate = t.rate, next_at = t.next_at
FROM unnest($1::text[], $2::float[], $3::timestamptz[]) AS t(line, rate, next_at)
WHERE r.line = t.line
"""

OTHERS_CALLS = """
SELECT line, sum(calls)::int AS calls FROM send_calls
WHERE line = ANY ($1::text[]) AND dispatcher <> $2 AND said_until > clock_timestamp() GROUP BY line
"""
SAY_CALLS = """
INSERT INTO send_calls (line, dispatcher, calls, said_until)
SELECT t.line, $1, t.calls, clock_timestamp() + $2::interval
FROM unnest($3::text[], $4::int[]) AS t(line, calls)
ON CONFLICT (line, dispatcher)
  DO UPDATE SET calls = excluded.calls, said_until = excluded.said_until
"""
# What is out of date is a dead dispatcher's, or one's that slept and says it anew.
KEEP_CALLS = """
WITH gone AS (DELETE FROM send_calls WHERE dispatcher <> $1 AND said_until < clock_timestamp())
UPDATE send_calls SET said_until = clock_timestamp() + $2::interval WHERE dispatcher = $1
"""

WAITING = """
SELECT r.line, (SELECT count(*)::int FROM (
  SELECT 1 FROM messages m WHERE m.status = 'queued' AND m.waits_for = r.line LIMIT 10000
) m) AS waiting
FROM send_rates r
"""

# Those that wait for the answer to a question (`ask:…`) that nobody here asks ($1: what is asked):
# whoever asked it is gone, or has forgotten it. The distinct lines are few, and are found by leaps.
LEAVE_LINES = """
WITH RECURSIVE l(line) AS (
  (SELECT waits_for FROM messages WHERE status = 'queued' AND waits_for IS NOT NULL
   ORDER BY waits_for LIMIT 1)
  UNION ALL
  SELECT (SELECT m.waits_for FROM messages m WHERE m.status = 'queued' AND m.waits_for > l.line
          ORDER BY m.waits_for LIMIT 1)
  FROM l WHERE l.line IS NOT NULL
), lost AS MATERIALIZED (
  SELECT m.partition, m.id FROM (
    SELECT line FROM l WHERE line LIKE 'ask:%' AND line <> ALL ($1::text[]) LIMIT 1000
  ) l CROSS JOIN LATERAL (
    SELECT partition, id FROM messages WHERE status = 'queued' AND waits_for = l.line LIMIT 1000
    FOR UPDATE SKIP LOCKED
  ) m LIMIT 10000
)
UPDATE messages m SET waits_for = NULL FROM lost l
WHERE m.partition = l.partition AND m.id = l.id AND m.status = 'queued'
"""

# The messages of a group with everything the policies ask of their customers, in one go. It comes
# after the customers' locks, in a statement of its own: only so it sees what their last holder did.
READ = f"""
SELECT m.partition, m.id, m.customer, m.run_id, m.journey, m.step, m.category, m.priority,
  m.held_out, m.channels, m.template, m.context, m.created_at, m.decidable_at, m.attempts,
  m.passed_over, m.held_reason, m.waits_for, {paused("m")} AS journey_paused, c.traits,
  k.channels AS consent_channels, k.granted, p.places, e.elsewhere, t.earlier
FROM unnest($1::int[], $2::text[]) AS w(partition, id)
JOIN messages m ON m.partition = w.partition AND m.id = w.id
LEFT JOIN customers c ON c.partition = m.partition AND c.id = m.customer
LEFT JOIN LATERAL (
  SELECT array_agg(k.channel) AS channels, array_agg(k.granted) AS granted
  FROM consents k WHERE k.partition = m.partition AND k.customer = m.customer
) k ON true
LEFT JOIN LATERAL (
  SELECT array_agg((p.message_id, p.taken_at, p.category, p.channel)) AS places
  FROM cap_places p WHERE p.partition = m.partition AND p.customer = m.customer
    AND p.taken_at > m.decidable_at - $4::interval
) p ON true
LEFT JOIN LATERAL (
  SELECT array_agg((o.id, o.journey, o.step, o.category, o.priority, o.created_at, o.decidable_at))
    AS elsewhere
  FROM messages o WHERE o.partition = m.partition AND o.customer = m.customer
    AND o.status = 'queued' AND o.status <> 'decided' AND o.not_before <= $3
    AND o.id <> m.id AND NOT {paused("o")}
) e ON true
LEFT JOIN LATERAL (
  SELECT array_agg((t.channel, t.adapter, t.outcome, t.provider_id, t.number, t.started_at)
    ORDER BY t.number) AS earlier
  FROM attempts t WHERE m.attempts > 0 AND t.partition = m.partition AND t.message_id = m.id
) t ON true
WHERE m.status = 'queued'
"""  # noqa: S608

SUPPRESSED = "SELECT address_hash, scope FROM suppressions WHERE address_hash = ANY ($1::text[])"

SUPPRESS = """
INSERT INTO suppressions (address_hash, scope, reason, at)
SELECT h, 'all', 'undeliverable', $2 FROM unnest($1::text[]) AS h ON CONFLICT DO NOTHING
"""

# Asked for the rare push token that a provider calls gone since an instant: whether the app has
# named it after that.
TOLD_SINCE = """
SELECT EXISTS (SELECT FROM history h WHERE h.partition = $1 AND h.customer = $2
  AND h.received_at > $3
  AND $4 IN (h.event #>> '{context,device,token}', h.event #>> '{traits,push_token}'))
"""

# Rows come as one JSON text: a dozen arrays and more cost the driver as much as deciding does.
# A place that the message has from an earlier attempt moves to the new instant and channel.
ATTEMPT = """
WITH a AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset($3::jsonb) AS a(partition int, id text, customer text,
    number int, channel text, adapter text, passed_over jsonb, at timestamptz, category text,
    taken_at timestamptz)
), moved AS (
  UPDATE messages m SET status = 'attempting', attempts = a.number, channel = a.channel,
    waits_for = NULL, passed_over = a.passed_over, claimed_by = $1,
    claim_until = clock_timestamp() + $2::interval
  FROM a WHERE m.partition = a.partition AND m.id = a.id AND m.status = 'queued'
  RETURNING 1
), recorded AS (
  INSERT INTO attempts (partition, message_id, number, channel, adapter, dispatcher, started_at)
  SELECT partition, id, number, channel, adapter, $1, at FROM a
), counted AS (
  INSERT INTO cap_places (partition, customer, message_id, taken_at, category, channel)
  SELECT partition, customer, id, taken_at, category, channel FROM a WHERE taken_at IS NOT NULL
  ON CONFLICT (partition, customer, message_id)
    DO UPDATE SET taken_at = excluded.taken_at, channel = excluded.channel
)
SELECT count(*) FROM moved
"""

# A message whose customer has been erased meanwhile is not tried again, nothing but its outcome is
# kept, and nobody is told. `attempts = number` tells this attempt from a later one that somebody
# else has made meanwhile.
CHANGE = """
WITH t AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset($3::jsonb) AS t(partition int, id text, customer text,
    number int, decision text, reason text, decided_at timestamptz, channel text,
    not_before timestamptz, decidable_at timestamptz, held_reason text, passed_over jsonb,
    gives_back bool, awaits float, outcome text, finished_at timestamptz, provider_id text,
    detail text, waits_for text, why text)
), moved AS (
  UPDATE messages m SET
    status = CASE WHEN t.decision IS NOT NULL OR m.erased THEN 'decided'
      WHEN t.awaits IS NOT NULL THEN 'attempting' ELSE 'queued' END,
    claimed_by = CASE WHEN t.awaits IS NOT NULL AND m.erased IS NOT TRUE THEN 'report' END,
    claim_until = CASE WHEN t.awaits IS NOT NULL AND m.erased IS NOT TRUE
      THEN clock_timestamp() + make_interval(secs => t.awaits) END,
    waits_for = t.waits_for,
    decision = CASE WHEN NOT coalesce(m.erased, false) OR t.decision IS NOT NULL THEN t.decision
      WHEN t.awaits IS NOT NULL THEN 'sent' ELSE 'dropped' END,
    reason = CASE WHEN m.erased AND t.decision IS NULL AND t.awaits IS NULL THEN 'run_ended'
      ELSE t.reason END,
    decided_at = CASE WHEN m.erased
      THEN coalesce(t.decided_at, t.finished_at, clock_timestamp()) ELSE t.decided_at END,
    channel = coalesce(t.channel, m.channel),
    detail = t.why,
    not_before = coalesce(t.not_before, m.not_before),
    decidable_at = coalesce(t.decidable_at, m.decidable_at),
    held_reason = coalesce(t.held_reason, m.held_reason),
    passed_over = coalesce(t.passed_over, m.passed_over),
    provider_id = CASE WHEN m.erased THEN NULL ELSE coalesce(t.provider_id, m.provider_id) END
  FROM t WHERE m.partition = t.partition AND m.id = t.id
    AND m.status = $2 AND m.claimed_by IS NOT DISTINCT FROM $1 AND m.attempts = t.number
  RETURNING m.partition, m.id, m.erased
), noted AS (
  UPDATE attempts a SET finished_at = t.finished_at, outcome = t.outcome,
    provider_id = CASE WHEN moved.erased THEN NULL
      ELSE coalesce(t.provider_id, a.provider_id) END,
    detail = CASE WHEN moved.erased THEN NULL ELSE t.detail END
  FROM t JOIN moved USING (partition, id)
  WHERE t.outcome IS NOT NULL
    AND a.partition = t.partition AND a.message_id = t.id AND a.number = t.number
), given_back AS (
  DELETE FROM cap_places c USING t JOIN moved USING (partition, id)
  WHERE t.gives_back
    AND c.partition = t.partition AND c.customer = t.customer AND c.message_id = t.id
)
SELECT partition, id FROM moved WHERE erased IS NOT TRUE
"""

# `provider_id` holds it until the provider has named the message.
REMEMBER = """
UPDATE attempts a SET provider_id = $5 FROM messages m
WHERE a.partition = $1 AND a.message_id = $2 AND a.number = $3
  AND m.partition = a.partition AND m.id = a.message_id AND m.attempts = a.number
  AND m.status = 'attempting' AND m.claimed_by = $4
RETURNING true
"""

RETRIES = """
SELECT w.partition, w.id, count(*)::int AS n
FROM unnest($1::int[], $2::text[], $3::text[], $4::text[]) AS w(partition, id, channel, adapter)
JOIN attempts a ON a.partition = w.partition AND a.message_id = w.id AND a.channel = w.channel
  AND a.adapter = w.adapter
WHERE a.outcome IN ('retryable', 'unknown') GROUP BY 1, 2
"""

# After a commit whose answer was lost: nobody was called, so nothing is unknown. Where it was not
# stored, the dispatcher's other lane may have attempted the message meanwhile and be calling: that
# attempt has the same number, and began at another moment.
RELEASE = """
WITH w AS (
  SELECT a.partition, a.message_id AS id, a.number
  FROM unnest($2::int[], $3::text[], $4::int[], $5::timestamptz[]) AS w(partition, id, number, at)
  JOIN attempts a ON a.partition = w.partition AND a.message_id = w.id AND a.number = w.number
    AND a.started_at = w.at
  WHERE a.outcome IS NULL
),
freed AS (
  UPDATE messages m SET claimed_by = NULL, claim_until = NULL,
    status = CASE WHEN m.erased THEN 'decided' ELSE 'queued' END,
    decision = CASE WHEN m.erased THEN 'dropped' END,
    reason = CASE WHEN m.erased THEN 'run_ended' END,
    decided_at = CASE WHEN m.erased THEN clock_timestamp() END
  FROM w WHERE m.partition = w.partition AND m.id = w.id AND m.attempts = w.number
    AND m.status = 'attempting' AND m.claimed_by = $1
  RETURNING m.partition, m.id, m.attempts
)
UPDATE attempts a SET outcome = 'broken_connection', detail = 'not called: the database was away'
FROM freed f WHERE a.partition = f.partition AND a.message_id = f.id AND a.number = f.attempts
  AND a.outcome IS NULL
"""

# A row that is locked is being turned into something else by a transaction of our own: waiting for
# it could wait for us in turn.
REFRESH = """
WITH held AS MATERIALIZED (
  SELECT m.partition, m.id
  FROM unnest($3::int[], $4::text[]) AS w(partition, id)
  JOIN messages m ON m.partition = w.partition AND m.id = w.id
  WHERE m.status = 'attempting' AND m.claimed_by = $1
  FOR UPDATE OF m SKIP LOCKED
)
UPDATE messages m SET claim_until = clock_timestamp() + $2::interval
FROM held h WHERE m.partition = h.partition AND m.id = h.id
"""

# `$1`: also those whose lease still runs.
GONE_ATTEMPTS = """
SELECT m.partition, m.id, m.customer, m.run_id, m.journey, m.step, m.attempts, m.channel,
  m.claimed_by,
  coalesce(l.adapter, '') AS adapter,
  (SELECT count(*)::int FROM attempts a WHERE a.partition = m.partition AND a.message_id = m.id
    AND a.channel = m.channel AND a.adapter = l.adapter
    AND a.outcome IN ('retryable', 'unknown')) AS retries
FROM messages m
LEFT JOIN attempts l ON l.partition = m.partition AND l.message_id = m.id AND l.number = m.attempts
WHERE m.status = 'attempting'
  AND ($1 AND m.claimed_by <> 'report' OR m.claim_until < clock_timestamp())
ORDER BY m.claim_until LIMIT $2 FOR UPDATE OF m SKIP LOCKED
"""


def _depth(category: str) -> str:
    return f"""
  (SELECT coalesce(m.channel, m.channels[1]) AS channel, m.not_before FROM messages m
  WHERE m.status = 'queued' AND m.waits_for IS NULL AND m.category = '{category}'
    AND m.not_before <= $1 AND NOT {paused("m")} ORDER BY m.not_before LIMIT 10000)"""  # noqa: S608


DEPTH = f"""
SELECT channel, count(*)::int AS due, min(not_before) AS oldest
FROM ({_depth("transactional")} UNION ALL {_depth("marketing")}) m GROUP BY 1
"""  # noqa: S608 - no values from outside
