-- Included by others: the seats of an organisation, which are its entries in the queue that nobody had yet, at most as
-- many as it has weight. Each is taken in turn by its people who have something in their lanes: those without a seat, as
-- they stand in `people`, then those who have one, as they took their last.
-- `names` are what its keys begin with: lanes, seats, people. A seat is 'ENTRY USER'.

local function first_seat(names, org)
    return redis.call('LRANGE', names.seats .. org, 0, 0)[1]
end

-- Give up the seats of what was delivered; whose they were, and who have more, stand behind the others now.
local function vacate(names, org, last)
    local seats, people, left = names.seats .. org, names.people .. org, {}
    local seat = first_seat(names, org)
    while seat do
        if position(seat) > last then
            break
        end
        redis.call('LPOP', seats)
        left[#left + 1] = string.match(seat, ' (.*)$')
        seat = first_seat(names, org)
    end
    local sits = {}
    for _, taken in ipairs(#left > 0 and redis.call('LRANGE', seats, 0, -1) or {}) do
        sits[string.match(taken, ' (.*)$')] = true
    end
    for _, user in ipairs(left) do
        if not sits[user] and redis.call('EXISTS', names.lanes .. user) == 1 and not redis.call('LPOS', people, user) then
            redis.call('RPUSH', people, user)
        end
    end
end

-- Of those who have a seat: who has something in his lane, and took his last one before the others.
local function sitting(names, org)
    local last, order = {}, {}
    local seats = redis.call('LRANGE', names.seats .. org, 0, -1)
    for s = #seats, 1, -1 do
        local user = string.match(seats[s], ' (.*)$')
        if not last[user] then
            last[user] = true
            table.insert(order, 1, user)
        end
    end
    for _, user in ipairs(order) do
        if redis.call('EXISTS', names.lanes .. user) == 1 then
            return user
        end
    end
end

-- Note a seat that was taken.
local function sit(names, org, id, user)
    redis.call('RPUSH', names.seats .. org, id .. ' ' .. user)
end

-- Note by when the oldest seat was taken, for who reads to find.
local function note(names, orgs, org)
    local first = first_seat(names, org)
    if first then
        redis.call('ZADD', orgs, score(first), org)
    else
        redis.call('ZREM', orgs, org)
    end
end

-- Give free seats to who is next. Answers how many.
local function fill(names, queue, entries, org, weight)
    local given, free = 0, weight - redis.call('LLEN', names.seats .. org)
    while free > 0 do
        local user = redis.call('LPOP', names.people .. org) or sitting(names, org)
        if not user then
            break
        end
        local found
        repeat
            local id = redis.call('LPOP', names.lanes .. user)
            found = id and redis.call('XRANGE', entries, id, id)[1]
        until found or not id
        if found then
            sit(names, org, redis.call('XADD', queue, '*', unpack(found[2])), user)
            redis.call('XDEL', entries, found[1])
            given, free = given + 1, free - 1
        end
    end
    return given
end
