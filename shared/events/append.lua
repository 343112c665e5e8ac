-- Appends one event to the stream of a job, publishes it, and writes the result record that
-- Celery's clients read, in one atomic step. Refuses outdated, repeated and late events.
--
-- KEYS: stream, fence, result record
-- ARGV: channel, ttl seconds, stream length, token, sequence, attempt, kind, event, record,
--       waiting event, waiting record
-- kind: waiting  the job waits for the attempt; appended once for each attempt
--       again    the job waits once more for an attempt that was released unused
--       running  a step of the attempt; its first event also carries the waiting event, which is
--                appended before it if it is missing, or if another owner ran (and released) the
--                same attempt since it was appended
--       last     the job has ended; carries the waiting event in the same way if the job was
--                waiting for the attempt
-- Returns the outcome, and 1 if a cancellation of the job was requested.
local stream, fence, record_key = KEYS[1], KEYS[2], KEYS[3]
local channel, ttl, length = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local token, sequence, attempt = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local kind, event, record = ARGV[7], ARGV[8], ARGV[9]

local seen =
  redis.call('HMGET', fence, 'token', 'sequence', 'waited_for', 'ended', 'cancel', 'kind')
local seen_token, seen_sequence = tonumber(seen[1] or -1), tonumber(seen[2] or -1)
local waited_for, cancel = tonumber(seen[3] or 0), tonumber(seen[5] or 0)

if seen[4] then return {'ended', cancel} end
if token < seen_token or kind == 'running' and attempt < waited_for then
  return {'fenced', cancel}
end
if token > seen_token then seen_sequence = -1 end
local is_repeated = sequence <= seen_sequence
if kind == 'waiting' then is_repeated = attempt <= waited_for end
if kind ~= 'last' and is_repeated then return {'repeated', cancel} end

local function append(data, result)
  redis.call('XADD', stream, 'MAXLEN', '~', length, '*', 'event', data)
  redis.call('PUBLISH', channel, data)
  if result ~= '' then
    redis.call('SET', record_key, result, 'EX', ttl)
    redis.call('PUBLISH', record_key, result)
  end
end

local is_wait_missing = waited_for < attempt or token > seen_token and seen[6] == 'running'
if (kind == 'running' or kind == 'last') and is_wait_missing and ARGV[10] ~= '' then
  append(ARGV[10], ARGV[11])
end
append(event, record)
if kind ~= 'last' then waited_for = math.max(waited_for, attempt) end
sequence = math.max(sequence, seen_sequence)
redis.call('HSET', fence, 'token', token, 'sequence', sequence, 'waited_for', waited_for,
  'kind', kind)
if kind == 'last' then redis.call('HSET', fence, 'ended', 1) end
redis.call('EXPIRE', fence, ttl)
redis.call('EXPIRE', stream, ttl)
return {'appended', cancel}
