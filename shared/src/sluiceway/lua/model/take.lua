-- May a call of a model begin now, within what all processes together may ask of it in a window of time? Who came first
-- goes first: a later call begins only where there is room for those before it, too. Time is Redis's.
-- KEYS: budget (hash), line (sorted set: tickets by their arrival), tickets (hash).
-- ARGV: ticket, arrived (µs; 0: now, or as the line has it), tokens, most requests, most tokens (0: any number),
-- window_ms, grace_ms (how much later than it was told a call in line may come).
-- Answers {1, arrived, slice}: it may, and was counted in that slice of the window; or {0, arrived, ms}: it waits in
-- line, and comes again after so long.
local SLICES, MOST_READ = 60, 500
local ticket, arrived, tokens = ARGV[1], ARGV[2], tonumber(ARGV[3])
local most_n, most_k = tonumber(ARGV[4]), tonumber(ARGV[5])
local window, grace = tonumber(ARGV[6]), tonumber(ARGV[7])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local length = window / SLICES
local slice = math.floor(now / length)

local function whole(number)
    return string.format('%.0f', number)
end

-- How long calls with so many tokens take at the pace of the limits.
local function pace(number, of_tokens)
    local n = most_n > 0 and number * window / most_n or 0
    local k = most_k > 0 and of_tokens * window / most_k or 0
    return math.max(n, k)
end

local known, counted, used = redis.call('HGETALL', KEYS[1]), {n = {}, k = {}}, {n = 0, k = 0}
local paused, free = 0, 0
for place = 1, #known, 2 do
    local kind, of, value = known[place]:sub(1, 1), tonumber(known[place]:sub(2)), tonumber(known[place + 1])
    if known[place] == 'paused' then
        paused = value
    elseif known[place] == 'free' then
        free = value
    elseif of < slice - SLICES then
        redis.call('HDEL', KEYS[1], known[place])
    else
        counted[kind][of] = value
        used[kind] = used[kind] + value
    end
end

if arrived == '0' then
    arrived = redis.call('ZSCORE', KEYS[2], ticket) or time[1] .. string.format('%06d', time[2])
end
redis.call('ZADD', KEYS[2], arrived, ticket)
local before_n, before_k, reached = 0, 0, false
for _, other in ipairs(redis.call('ZRANGE', KEYS[2], 0, MOST_READ - 1)) do
    if other == ticket then
        reached = true
        break
    end
    local its_tokens, expires = string.match(redis.call('HGET', KEYS[3], other) or '', '^(%d+) (%d+)$')
    if not expires or tonumber(expires) < now then
        -- Its process died, or it gave up: nobody waits for it.
        redis.call('ZREM', KEYS[2], other)
        redis.call('HDEL', KEYS[3], other)
    else
        before_n, before_k = before_n + 1, before_k + its_tokens
    end
end
if not reached then
    local rank = redis.call('ZRANK', KEYS[2], ticket)
    before_n, before_k = rank, before_k * rank / math.max(1, before_n)
end

-- What is larger than the whole limit goes when nothing else counts.
local function fits(n, k)
    local in_n = most_n == 0 or n + before_n + 1 <= most_n
    local in_k = most_k == 0 or k + before_k + tokens <= most_k or (k <= 0 and before_k == 0)
    return in_n and in_k
end

local wait = 0
if not fits(used.n, used.k) then
    wait = window
    local n, k = used.n, used.k
    for old = slice - SLICES, slice do
        n, k = n - (counted.n[old] or 0), k - (counted.k[old] or 0)
        if fits(n, k) then
            wait = (old + SLICES + 1) * length - now
            break
        end
    end
end
-- For a window after the server said that it was too much, they go one by one.
local paced = now < paused + window
if paced then
    wait = math.max(wait, math.max(free, paused) + pace(before_n, before_k) - now)
end

local function keep(key, ms)
    redis.call('PEXPIRE', key, whole(math.max(ms, redis.call('PTTL', key))))
end

if wait > 0 then
    wait = math.ceil(math.max(5, math.min(wait, math.max(window, paused - now))))
    redis.call('HSET', KEYS[3], ticket, whole(tokens) .. ' ' .. whole(now + wait + grace))
    keep(KEYS[2], wait + grace + window)
    keep(KEYS[3], wait + grace + window)
    return {0, tonumber(arrived), wait}
end
redis.call('ZREM', KEYS[2], ticket)
redis.call('HDEL', KEYS[3], ticket)
redis.call('HINCRBY', KEYS[1], 'n' .. whole(slice), 1)
redis.call('HINCRBY', KEYS[1], 'k' .. whole(slice), whole(tokens))
if paced then
    redis.call('HSET', KEYS[1], 'free', whole(math.max(free, paused) + math.min(window, pace(1, tokens))))
end
keep(KEYS[1], 2 * window)
return {1, tonumber(arrived), slice}
