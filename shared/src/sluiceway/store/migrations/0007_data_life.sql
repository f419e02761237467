-- How a Postgres that went back is noticed: a number that only grows, which the reconciler also keeps in Redis.
CREATE TABLE store_mark (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    number  bigint NOT NULL
);
INSERT INTO store_mark (number) VALUES (1);
