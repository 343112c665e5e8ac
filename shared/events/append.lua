-- Appends one event to the stream of a job, publishes it, and writes the result record that
-- Celery's clients read, in one atomic step. Refuses outdated, repeated and late events. The row
-- decides in the end: a writer that was refused asks it, and comes again with its word.
--
-- KEYS: stream, fence, result record
-- ARGV: channel, ttl seconds, stream length, token, sequence, attempt, kind, event, record,
--       waiting event, waiting record, confirmed, ttl seconds of an ended job
-- kind: waiting  the job waits for the attempt; appended once for each attempt
--       again    the job waits once more for an attempt that was released unused
--       running  a step of the attempt; its first event also carries the waiting event, which is
--                appended before it if it is missing, or if another owner ran (and released) the
--                same attempt since it was appended
--       last     the job has ended, as its row says; carries the waiting event in the same way if
--                the job was waiting for the attempt
-- confirmed: 1 if the row says that the attempt owns the job, whatever the fence remembers.
-- Returns the outcome, 1 if a cancellation of the job was requested, and the progress that
-- clients have seen. Outcomes: appended, repeated, fenced, ended; unknown if the fence of a
-- running attempt is lost.
local stream, fence, record_key = KEYS[1], KEYS[2], KEYS[3]
local channel, ttl, length = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local token, sequence, attempt = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local kind, event, record, confirmed = ARGV[7], ARGV[8], ARGV[9], ARGV[12] == '1'

local seen = redis.call(
  'HMGET', fence, 'token', 'sequence', 'waited_for', 'ended', 'cancel', 'kind', 'progress')
local seen_token, seen_sequence = tonumber(seen[1] or -1), tonumber(seen[2] or -1)
local waited_for, cancel = tonumber(seen[3] or 0), tonumber(seen[5] or 0)
local progress = tonumber(seen[7] or 0)

local function write_record(result)
  if result ~= '' then
    redis.call('SET', record_key, result, 'EX', ttl)
    redis.call('PUBLISH', record_key, result)
  end
end

local function append(data, result)
  redis.call('XADD', stream, 'MAXLEN', '~', length, '*', 'event', data)
  if not seen[1] then
    -- A new stream takes 4 kB at once (stream-node-max-bytes); a copy, what it needs. Where the
    -- user may not copy, it stays as it is.
    local copy = redis.pcall('DUMP', stream)
    if type(copy) == 'string' then redis.pcall('RESTORE', stream, 0, copy, 'REPLACE') end
  end
  redis.call('PUBLISH', channel, data)
  write_record(result)
end

if seen[4] then
  -- Clients may have read the end; without it in the stream the flag means nothing.
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  local status = newest and string.match(newest[2][2], '^{"status": "(%a+)"')
  if status == 'completed' or status == 'failed' then
    if kind == 'last' and token >= seen_token and redis.call('GET', record_key) ~= record then
      -- The row forgot an end that was published, and the job has ended again.
      redis.call('HSET', fence, 'token', token)
      write_record(record)
    end
    return {'ended', cancel, progress}
  end
end
if kind == 'running' and not confirmed then
  if token < seen_token or attempt < waited_for then return {'fenced', cancel, progress} end
  if not seen[1] and sequence > 1 then return {'unknown', cancel, progress} end
end
if kind == 'waiting' or kind == 'again' then
  if token < seen_token then return {'fenced', cancel, progress} end
end
if token ~= seen_token then seen_sequence = -1 end
local is_repeated = sequence <= seen_sequence and not confirmed
if kind == 'waiting' then is_repeated = attempt <= waited_for end
if kind ~= 'last' and is_repeated then return {'repeated', cancel, progress} end

local is_wait_missing = waited_for < attempt or token > seen_token and seen[6] == 'running'
if (kind == 'running' or kind == 'last') and is_wait_missing and ARGV[10] ~= '' then
  append(ARGV[10], ARGV[11])
  progress = 0
end
local own = tonumber(string.match(event, '"progress": (%d+)'))
if kind == 'last' and own < progress then
  -- Redis was unavailable at the verdict, and the row is behind what clients have seen.
  event = string.gsub(event, '"progress": %d+', '"progress": ' .. progress, 1)
else
  progress = own
end
append(event, record)
if kind ~= 'last' then waited_for = math.max(waited_for, attempt) end
redis.call('HSET', fence, 'token', token, 'sequence', math.max(sequence, seen_sequence),
  'waited_for', waited_for, 'kind', kind, 'progress', progress)
if kind == 'last' then
  redis.call('HSET', fence, 'ended', 1)
else
  redis.call('HDEL', fence, 'ended')
end
-- The row knows the end; Celery's clients may read the record for longer.
if kind == 'last' then ttl = math.min(ttl, tonumber(ARGV[13])) end
redis.call('EXPIRE', fence, ttl)
redis.call('EXPIRE', stream, ttl)
return {'appended', cancel, progress}
