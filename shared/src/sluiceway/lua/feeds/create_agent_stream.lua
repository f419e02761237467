-- Begin a new stream of agent events for a task. The one that is there, if any, is closed and keeps its slot.
-- KEYS: meta, published, events of slot 0, events of slot 1.
-- ARGV: live_ttl_ms, retention_ms, task id, user id ('' for nobody), then the JSON of the closing event in two halves,
-- between which its sequence belongs. Answers the new generation: Redis's time in ms, or more, so that it grows.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local old = redis.call('HMGET', KEYS[1], 'generation', 'sequence', 'status', 'slot', 'closed', 'user_id')
local generation, slot = now, 0
if old[1] then
    local events = KEYS[3 + old[4]]
    if old[3] == 'open' then
        local sequence = string.format('%.0f', old[2] + 1)
        redis.call('XADD', events, old[1] .. '-' .. sequence, 't', 'connection_end',
            'd', ARGV[5] .. sequence .. ARGV[6], 'o', old[6] or '')
    end
    redis.call('PEXPIRE', events, ARGV[2])
    -- Greater than the moment of the closing, too: by that the registry tells a stream from its successor.
    generation = math.max(now, old[1] + 1, (old[5] or 0) + 1)
    slot = 1 - old[4]
end
generation = string.format('%.0f', generation)
redis.call('DEL', KEYS[1], KEYS[3 + slot])
redis.call('HSET', KEYS[1], 'task_id', ARGV[3], 'generation', generation, 'sequence', 0, 'status', 'open',
    'slot', slot, 'active', generation, 'listed', generation)
if ARGV[4] ~= '' then
    redis.call('HSET', KEYS[1], 'user_id', ARGV[4])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return generation
