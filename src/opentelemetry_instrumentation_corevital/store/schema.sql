-- CoreVital's store, version 8: OpenTelemetry spans, logs and metrics as they were exported, one narrow row per judged
-- run, the run data, and the labels that people gave.
--
-- This text makes the newest version. It is also run on a file of an older version, which gets the tables that it lacks;
-- what an older table lacks is in `migrations.py`. Verdicts are declared in the catalogue: `migrations.py` puts their columns
-- and indexes in the place of {verdict columns}, {flag columns} and {flag indexes}.
-- Works on SQLite 3.31 and later: no STRICT (3.37), no ->> (3.38), no JSONB (3.45).
-- Ids are lowercase hexadecimal text, as every other tool prints them, so that a person can join by eye and by SQL.
-- Times are Unix nanoseconds (int64 holds them until 2262). Attributes are one JSON object per row; a number that is
-- not finite never gets here, since JSON has none.

CREATE TABLE IF NOT EXISTS resources (
  id INTEGER PRIMARY KEY,
  digest TEXT NOT NULL UNIQUE,          -- SHA-256 of attributes and schema_url: one row per process, not per span
  service_name TEXT NOT NULL DEFAULT '',
  attributes TEXT NOT NULL CHECK (json_valid(attributes)),
  schema_url TEXT NOT NULL DEFAULT ''
);

CREATE TABLE IF NOT EXISTS scopes (
  id INTEGER PRIMARY KEY,
  digest TEXT NOT NULL UNIQUE,          -- SHA-256 of all that follows
  name TEXT NOT NULL,
  version TEXT NOT NULL DEFAULT '',
  attributes TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(attributes)),
  schema_url TEXT NOT NULL DEFAULT ''
);

CREATE TABLE IF NOT EXISTS spans (
  trace_id TEXT NOT NULL CHECK (length(trace_id) = 32),
  span_id TEXT NOT NULL CHECK (length(span_id) = 16),
  parent_span_id TEXT,                  -- no foreign key: a parent is exported after its children, or elsewhere
  trace_state TEXT NOT NULL DEFAULT '',
  resource_id INTEGER NOT NULL REFERENCES resources (id),
  scope_id INTEGER NOT NULL REFERENCES scopes (id),
  name TEXT NOT NULL,
  kind INTEGER NOT NULL,                -- as in OTLP: 1 internal, 2 server, 3 client, 4 producer, 5 consumer
  start_ns INTEGER NOT NULL,
  end_ns INTEGER NOT NULL,
  status_code INTEGER NOT NULL DEFAULT 0,  -- as in OTLP: 0 unset, 1 ok, 2 error
  status_message TEXT NOT NULL DEFAULT '',
  attributes TEXT NOT NULL CHECK (json_valid(attributes)),
  dropped_attributes INTEGER NOT NULL DEFAULT 0,
  dropped_events INTEGER NOT NULL DEFAULT 0,
  dropped_links INTEGER NOT NULL DEFAULT 0,
  ingested_ns INTEGER,                  -- when it was stored, which retention counts from; NULL: an older writer
  PRIMARY KEY (trace_id, span_id)       -- what makes a second delivery of a span replace the first
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS spans_start ON spans (start_ns);
CREATE INDEX IF NOT EXISTS spans_ingested ON spans (ingested_ns);
CREATE INDEX IF NOT EXISTS spans_resource ON spans (resource_id);  -- to find the resources that nothing needs any more

CREATE TABLE IF NOT EXISTS span_events (
  trace_id TEXT NOT NULL,
  span_id TEXT NOT NULL,
  seq INTEGER NOT NULL,                 -- position in the span: times need not differ
  time_ns INTEGER NOT NULL,
  name TEXT NOT NULL,
  attributes TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(attributes)),
  PRIMARY KEY (trace_id, span_id, seq),
  FOREIGN KEY (trace_id, span_id) REFERENCES spans (trace_id, span_id) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS span_links (
  trace_id TEXT NOT NULL,
  span_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  linked_trace_id TEXT NOT NULL,
  linked_span_id TEXT NOT NULL,
  trace_state TEXT NOT NULL DEFAULT '',
  attributes TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(attributes)),
  PRIMARY KEY (trace_id, span_id, seq),
  FOREIGN KEY (trace_id, span_id) REFERENCES spans (trace_id, span_id) ON DELETE CASCADE
) WITHOUT ROWID;

-- One row per generated sequence: what people filter and sort by, as real columns, so that no list parses JSON.
-- NULL means that it was not measured or not judged, never "no".
CREATE TABLE IF NOT EXISTS runs (
  trace_id TEXT NOT NULL,
  span_id TEXT NOT NULL,
  sequence_index INTEGER NOT NULL DEFAULT 0,  -- row in the call's result; 0 where the call had one sequence
  start_ns INTEGER NOT NULL,
  end_ns INTEGER NOT NULL,
  service_name TEXT NOT NULL DEFAULT '',  -- copied from the resource: lists need no join
  model TEXT,
  operation TEXT,                       -- NULL for one of several sequences: the call's span has it
  strategy TEXT,
  {verdict columns},                    -- also high_entropy_steps, and warnings: a JSON list of names
  input_tokens INTEGER,
  output_tokens INTEGER,
  finish_reason TEXT,
  error_type TEXT,
  entropy_mean REAL,                    -- bit
  surprisal_mean REAL,                  -- bit
  margin_mean REAL,
  label TEXT,                           -- the outcome in `labels`, copied: lists need no join
  damage TEXT,                          -- JSON: name of a value that was refused when it came -> why; NULL: none was
  experiment TEXT,                      -- of the resource
  prompt_id TEXT,                       -- this and the next two: of the event that tells a prompt set's prompt
  request_hash TEXT,                    -- over prompt, model, settings and experiment: what was asked already
  expected_found INTEGER,               -- whether the expected text is in the answer
  duration_ns INTEGER GENERATED ALWAYS AS (end_ns - start_ns) VIRTUAL,
  PRIMARY KEY (trace_id, span_id),      -- every sequence has a span of its own
  FOREIGN KEY (trace_id, span_id) REFERENCES spans (trace_id, span_id) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS runs_start ON runs (start_ns);
CREATE INDEX IF NOT EXISTS runs_model ON runs (model, start_ns);
CREATE INDEX IF NOT EXISTS runs_level ON runs (risk_level, start_ns) WHERE risk_level IS NOT NULL;
CREATE INDEX IF NOT EXISTS runs_risk ON runs (risk_score, start_ns) WHERE risk_score IS NOT NULL;
CREATE INDEX IF NOT EXISTS runs_prompt ON runs (prompt_hash, start_ns) WHERE prompt_hash IS NOT NULL;
CREATE INDEX IF NOT EXISTS runs_label ON runs (label, start_ns) WHERE label IS NOT NULL;
CREATE INDEX IF NOT EXISTS runs_stop ON runs (stop_reason, start_ns) WHERE stop_reason IS NOT NULL;
CREATE INDEX IF NOT EXISTS runs_experiment ON runs (experiment, start_ns) WHERE experiment IS NOT NULL;
CREATE INDEX IF NOT EXISTS runs_request ON runs (request_hash, start_ns) WHERE request_hash IS NOT NULL;
CREATE INDEX IF NOT EXISTS runs_intervened ON runs (start_ns) WHERE intervention IS NOT NULL;
-- Whether the answer was wrong is known (outcomes.py); few runs have that.
CREATE INDEX IF NOT EXISTS runs_outcome ON runs (start_ns, model, label, expected_found)
  WHERE label IN ('correct', 'incorrect') OR expected_found IN (0, 1);
-- Everything that a list filters by, newest last: several conditions at once are one walk along this index.
CREATE INDEX IF NOT EXISTS runs_filters ON runs (
  start_ns, sequence_index, end_ns, risk_score, output_tokens, model, risk_level, label, prompt_hash, stop_reason,
  intervention, baseline_source, service_name, experiment, request_hash, warnings, entropy_mean,
  {flag columns}
);
-- The same by value, so that alike runs are counted in one walk along this index.
CREATE INDEX IF NOT EXISTS runs_counts ON runs (
  model, risk_level, label, stop_reason, intervention, service_name, experiment, warnings,
  {flag columns},
  start_ns, end_ns, risk_score, output_tokens, baseline_source
);
CREATE INDEX IF NOT EXISTS runs_duration ON runs (duration_ns);
CREATE INDEX IF NOT EXISTS runs_tokens ON runs (output_tokens, start_ns) WHERE output_tokens IS NOT NULL;
{flag indexes}

-- The vectors of fingerprints, which the span has as JSON: the nearest are found without reading spans.
CREATE TABLE IF NOT EXISTS fingerprints (
  trace_id TEXT NOT NULL,
  span_id TEXT NOT NULL,
  version TEXT NOT NULL,
  vector BLOB NOT NULL,                 -- float64, little-endian, each from 0 to 1
  PRIMARY KEY (trace_id, span_id),
  FOREIGN KEY (trace_id, span_id) REFERENCES spans (trace_id, span_id) ON DELETE CASCADE
) WITHOUT ROWID;

-- What people say of a run. No foreign key: a second delivery of the span must not take the label away.
CREATE TABLE IF NOT EXISTS labels (
  trace_id TEXT NOT NULL CHECK (length(trace_id) = 32),
  span_id TEXT NOT NULL CHECK (length(span_id) = 16),
  outcome TEXT NOT NULL,                -- correct, incorrect, or a word of one's own
  note TEXT,
  labelled_ns INTEGER NOT NULL,         -- Unix time
  PRIMARY KEY (trace_id, span_id)
) WITHOUT ROWID;

-- Every log record but the chunks of run data. A log record has no identity of its own: two that are equal in all, times
-- included, are one that was delivered twice.
CREATE TABLE IF NOT EXISTS logs (
  id INTEGER PRIMARY KEY,
  resource_id INTEGER NOT NULL REFERENCES resources (id),
  scope_id INTEGER NOT NULL REFERENCES scopes (id),
  time_ns INTEGER,                      -- NULL: the source did not say
  observed_ns INTEGER NOT NULL,
  severity_number INTEGER,              -- as in OTLP: 1 trace, 5 debug, 9 info, 13 warn, 17 error, 21 fatal
  severity_text TEXT,
  event_name TEXT,
  body TEXT CHECK (body IS NULL OR json_valid(body)),  -- JSON, also where it is one string; bytes as base64
  attributes TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(attributes)),
  dropped_attributes INTEGER NOT NULL DEFAULT 0,
  trace_id TEXT,                        -- both NULL outside a span
  span_id TEXT,
  flags INTEGER NOT NULL DEFAULT 0,
  digest BLOB,                          -- of all above, 16 bytes; NULL: an older writer
  ingested_ns INTEGER
);

CREATE INDEX IF NOT EXISTS logs_span ON logs (trace_id, span_id) WHERE trace_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS logs_event ON logs (event_name, observed_ns) WHERE event_name IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS logs_digest ON logs (digest);
CREATE INDEX IF NOT EXISTS logs_ingested ON logs (ingested_ns);
CREATE INDEX IF NOT EXISTS logs_resource ON logs (resource_id);

CREATE TABLE IF NOT EXISTS metrics (
  id INTEGER PRIMARY KEY,
  resource_id INTEGER NOT NULL REFERENCES resources (id),
  scope_id INTEGER NOT NULL REFERENCES scopes (id),
  name TEXT NOT NULL,
  unit TEXT NOT NULL DEFAULT '',
  type TEXT NOT NULL CHECK (type IN ('gauge', 'sum', 'histogram', 'exponential_histogram')),
  temporality INTEGER NOT NULL DEFAULT 0,  -- as in OTLP: 0 none (a gauge), 1 delta, 2 cumulative
  is_monotonic INTEGER NOT NULL DEFAULT 0,
  description TEXT NOT NULL DEFAULT '',
  UNIQUE (resource_id, scope_id, name, unit, type, temporality, is_monotonic)
);

-- The newest point of every (metric, attributes, start_ns), so that a file does not grow while nothing new is counted:
--   cumulative  one row per series and process start; each export replaces it
--   gauge       one row per series, its last value (start_ns is 0); what each run had is in `runs` and `spans`
--   delta       every point, since each has a start of its own
CREATE TABLE IF NOT EXISTS metric_points (
  metric_id INTEGER NOT NULL REFERENCES metrics (id) ON DELETE CASCADE,
  attributes TEXT NOT NULL CHECK (json_valid(attributes)),  -- keys sorted: equal attributes are equal text
  start_ns INTEGER NOT NULL DEFAULT 0,
  time_ns INTEGER NOT NULL,
  value REAL,                           -- of a gauge or a sum
  count INTEGER,                        -- this and the next three: of a histogram
  sum REAL,
  min REAL,
  max REAL,
  detail TEXT CHECK (detail IS NULL OR json_valid(detail)),  -- a histogram's buckets, named as in OTLP
  exemplars TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(exemplars)),  -- [{time_ns, value, trace_id, span_id, ...}]
  flags INTEGER NOT NULL DEFAULT 0,
  ingested_ns INTEGER,
  PRIMARY KEY (metric_id, attributes, start_ns)
) WITHOUT ROWID;

-- The run data of a run: one compressed NumPy .npz with every step x signal (x layer).
-- No foreign key: it may come before the span, and a second delivery of the span must not take it away.
CREATE TABLE IF NOT EXISTS run_data (
  trace_id TEXT NOT NULL CHECK (length(trace_id) = 32),
  span_id TEXT NOT NULL CHECK (length(span_id) = 16),
  sha256 TEXT NOT NULL,                 -- of data, hexadecimal; checked when it was stored
  received_ns INTEGER NOT NULL,         -- Unix time at which it was whole
  data BLOB NOT NULL,
  PRIMARY KEY (trace_id, span_id)
);

CREATE INDEX IF NOT EXISTS run_data_received ON run_data (received_ns);

-- Chunks of run data whose others have not come yet; after a day without them they are given up.
CREATE TABLE IF NOT EXISTS run_data_chunks (
  trace_id TEXT NOT NULL CHECK (length(trace_id) = 32),
  span_id TEXT NOT NULL CHECK (length(span_id) = 16),
  sha256 TEXT NOT NULL,                 -- of all chunks together
  chunk_count INTEGER NOT NULL,
  size INTEGER NOT NULL,                -- bytes of all chunks together
  chunk_index INTEGER NOT NULL,         -- from 0
  received_ns INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (trace_id, span_id, sha256, chunk_count, size, chunk_index)
);
