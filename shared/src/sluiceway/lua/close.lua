-- End a task: compare-and-set of its status from a live one, and the last entries of its stream with it.
-- KEYS: meta, events. ARGV: attempt, status, retention_ms, json of the start chunk, then type, json for each entry.
-- Answers {'ok', id of the terminal entry}, {'second', the status that stands} or {'lost'} (Redis forgot the task).
local known = redis.call('HMGET', KEYS[1], 'attempt', 'status')
local status = known[2]
if not status then
    return {'lost'}
end
if status == 'completed' or status == 'failed' or status == 'cancelled' then
    return {'second', status}
end
local attempt = math.max(tonumber(known[1] or '0'), tonumber(ARGV[1]))
local id = string.format('%d-*', attempt)
if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('XADD', KEYS[2], id, 't', 'start', 'd', ARGV[4])
end
local last = ''
for i = 5, #ARGV, 2 do
    last = redis.call('XADD', KEYS[2], id, 't', ARGV[i], 'd', ARGV[i + 1])
end
redis.call('HSET', KEYS[1], 'status', ARGV[2], 'attempt', attempt, 'terminal', last)
redis.call('HDEL', KEYS[1], 'holder', 'beat', 'batch', 'cancel')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {'ok', last}
