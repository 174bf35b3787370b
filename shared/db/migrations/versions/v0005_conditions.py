"""What conditions compile to beside plain SQL: small total functions of the expression language.

They answer what services/journey/language/expressions/values.py answers and fail for no input.
Instants and durations are whole microseconds; instants count from 1970, UTC.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

FUNCTIONS = (
    # The instant that an ISO date or instant spells; NULL for any other text.
    r"""
CREATE FUNCTION dangol_instant(value text) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  at bigint;
  rest text;
  zone int;
  offset_of text;
BEGIN
  -- Patterns only test here: taking the parts out by them is ten times as slow.
  IF value !~ '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])($|[T ])'
    OR left(value, 4) = '0000'
    OR substr(value, 9, 2) > '28' AND substr(value, 9, 2)::int > date_part('days',
      make_date(left(value, 4)::int, substr(value, 6, 2)::int, 1) + interval '1 month -1 day')
  THEN RETURN NULL; END IF;
  at := (make_date(left(value, 4)::int, substr(value, 6, 2)::int, substr(value, 9, 2)::int)
    - date '1970-01-01') * 86400000000;
  IF length(value) = 10 THEN RETURN at; END IF;
  IF length(value) > 40 OR substr(value, 12) !~ '^([01][0-9]|2[0-3]):[0-5][0-9]'
    '(:[0-5][0-9]([.,][0-9]{1,9})?)?(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?$'
  THEN RETURN NULL; END IF;
  rest := substr(value, 17);
  zone := greatest(strpos(rest, '+'), strpos(rest, '-'));
  at := at + substr(value, 12, 2)::bigint * 3600000000 + substr(value, 15, 2)::bigint * 60000000;
  IF left(rest, 1) = ':' THEN
    at := at + substr(rest, 2, 2)::bigint * 1000000;
    IF substr(rest, 4, 1) IN ('.', ',') THEN
      at := at + left(rpad(rtrim(CASE zone WHEN 0 THEN substr(rest, 5)
        ELSE substr(rest, 5, zone - 5) END, 'Z'), 6, '0'), 6)::bigint;
    END IF;
  END IF;
  IF zone > 0 THEN
    offset_of := replace(substr(rest, zone + 1), ':', '') || '00';
    at := at - (substr(rest, zone, 1) || '60000000')::bigint
      * (left(offset_of, 2)::int * 60 + substr(offset_of, 3, 2)::int);
  END IF;
  RETURN dangol_calendar(at);
END $$
""",
    # The duration that a text such as 1h30m spells; NULL for any other text.
    r"""
CREATE FUNCTION dangol_duration(value text) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  spelt text;
  length numeric;
BEGIN
  IF value !~ '^[0-9]{1,9}[wdhms]' OR length(value) > 40 OR value !~ '^([0-9]{1,9}w)?([0-9]{1,9}d)?'
    '([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?$'
  THEN RETURN NULL; END IF;
  spelt := regexp_replace(value, '([a-z])', '\1 ', 'g');
  IF NOT pg_input_is_valid(spelt, 'interval') THEN RETURN NULL; END IF;
  length := extract(epoch FROM spelt::interval) * 1000000;
  RETURN CASE WHEN length <= 3660 * 86400000000 THEN trunc(length) END;
END $$
""",
    # An instant within the years 1 to 9999, or NULL.
    """
CREATE FUNCTION dangol_calendar(at numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN at BETWEEN -62135596800000000 AND 253402300799999999 THEN at END
""",
    # A duration of at most a billion days, or NULL.
    """
CREATE FUNCTION dangol_length(length numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN length BETWEEN -86399999913600000000 AND 86399999999999999999 THEN length END
""",
    # Two texts as one of at most 10,000 characters, or NULL.
    """
CREATE FUNCTION dangol_join(a text, b text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN length(a) + length(b) <= 10000 THEN a || b END
""",
    # The item of a list, from the end for a negative place. (For `->` a single value is its own.)
    """
CREATE FUNCTION dangol_item(value jsonb, place integer) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(value) = 'array' THEN value -> place END
""",
    # The number of fields of a jsonb object.
    """
CREATE FUNCTION dangol_size(value jsonb) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (SELECT count(*)::integer
  FROM jsonb_object_keys(CASE WHEN jsonb_typeof(value) = 'object' THEN value ELSE '{}' END))
""",
    # + - * / of two numbers. Whole numbers (no decimal places) stay whole within 64 bits, all else
    # is a double and keeps at least one decimal place. NULL by zero and past the bounds.
    """
CREATE FUNCTION dangol_arithmetic(operator text, a numeric, b numeric) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  whole CONSTANT boolean := scale(a) = 0 AND scale(b) = 0;
  result numeric;
  x float8; y float8; z float8;
BEGIN
  IF operator = '/' AND b = 0 THEN RETURN NULL; END IF;
  IF whole AND operator <> '/' THEN
    result := CASE operator WHEN '+' THEN a + b WHEN '-' THEN a - b ELSE a * b END;
    RETURN CASE WHEN result BETWEEN -9223372036854775808 AND 9223372036854775807 THEN result END;
  END IF;
  IF whole AND (abs(a) > 9007199254740992 OR abs(b) > 9007199254740992) THEN
    -- More digits than doubles have: enough decimal places that the quotient is rounded once.
    z := dangol_double(a / round(b, 80));
    RETURN dangol_fraction(z);
  END IF;
  x := dangol_double(a);
  y := dangol_double(b);
  IF operator = '/' AND y = 0 THEN RETURN NULL; END IF;
  IF abs(x) > 1e150 OR abs(y) > 1e150
    OR operator IN ('*', '/') AND (abs(x) < 1e-150 OR abs(y) < 1e-150)
  THEN
    -- PostgreSQL raises where IEEE arithmetic passes the largest double or rounds to zero.
    IF x IS NULL OR y IS NULL THEN RETURN NULL; END IF;
    IF operator IN ('*', '/') AND (x = 0 OR y = 0) THEN RETURN 0.0; END IF;
    result := CASE operator WHEN '+' THEN a + b WHEN '-' THEN a - b
      WHEN '*' THEN a * b ELSE a / b END;
    IF abs(result) >= 1.7976931348623158e308 THEN RETURN NULL; END IF;
    IF operator IN ('*', '/') AND abs(result) < 3e-324 THEN RETURN 0.0; END IF;
  END IF;
  z := CASE operator WHEN '+' THEN x + y WHEN '-' THEN x - y WHEN '*' THEN x * y ELSE x / y END;
  RETURN dangol_fraction(z);
END $$
""",
    # The double nearest to a number; NULL past the largest.
    """
CREATE FUNCTION dangol_double(value numeric) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
  WHEN abs(value) >= 1.7976931348623158e308 THEN NULL
  WHEN abs(value) < 5e-324 THEN 0
  ELSE value::double precision END
""",
    # A double as a number with at least one decimal place: its shortest spelling, as JSON has it,
    # or its exact value where that is a whole number which the spelling rounds.
    """
CREATE FUNCTION dangol_fraction(value double precision) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
  WHEN abs(value) BETWEEN 9007199254740992 AND 9223372036854774784 THEN round(value::bigint, 1)
  ELSE round(value::text::numeric, greatest(scale(value::text::numeric), 1)) END
""",
)


def upgrade() -> None:
    connection = op.get_bind()  # as written: op.execute would read `?:` in patterns as parameters
    for function in FUNCTIONS:
        connection.exec_driver_sql(function)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
