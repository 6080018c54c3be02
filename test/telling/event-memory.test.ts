import { describe, expect, test } from 'vitest';
import { EventMemory, REFRESH_MS } from '../../syncer/event-memory.ts';
import type { Notice } from '../../syncer/events.ts';

const MINUTE_MS = 60_000;

function notice(name: string, note = 'a sentence'): Notice {
  const object = { kind: 'Ingress', namespace: 'shop', name };
  return {
    object,
    uid: `uid-${name}`,
    type: 'Warning',
    reason: 'InvalidPath',
    action: 'Compile',
    note,
  };
}

/** A memory whose writes all succeed. */
class Teller {
  readonly memory = new EventMemory('causeway.dev/ingress-controller', 0);
  nowMs = 0;

  tell(...notices: Notice[]): string[] {
    const { decisions, dropped } = this.memory.decide(notices, this.nowMs);
    for (const decision of decisions) this.memory.wasTold(decision, this.nowMs);
    const lines = decisions.map((it) =>
      [it.kind, it.notice.object.name, ...(it.kind === 'refresh' ? [it.count] : [])].join(' '),
    );
    return dropped > 0 ? [...lines, `${dropped} dropped`] : lines;
  }
}

describe('what was told', () => {
  test('is told once', () => {
    const teller = new Teller();
    expect(teller.tell(notice('a'), notice('a'))).toEqual(['create a']);
    teller.nowMs = REFRESH_MS - 1;
    expect(teller.tell(notice('a'))).toEqual([]);
  });

  test('is told again, counted, after a long time', () => {
    const teller = new Teller();
    teller.tell(notice('a'));
    teller.nowMs = REFRESH_MS;
    expect(teller.tell(notice('a'))).toEqual(['refresh a 2']);
    expect(teller.tell(notice('a'))).toEqual([]);
    teller.nowMs = 2 * REFRESH_MS;
    expect(teller.tell(notice('a'))).toEqual(['refresh a 3']);
  });

  test('and comes and goes is told again after minutes', () => {
    const teller = new Teller();
    teller.tell(notice('a'));
    teller.nowMs = MINUTE_MS;
    expect(teller.tell()).toEqual([]);
    expect(teller.tell(notice('a'))).toEqual([]);
    teller.nowMs = 5 * MINUTE_MS;
    expect(teller.tell(notice('a'))).toEqual(['refresh a 2']);
  });

  test('in other words is something else', () => {
    const teller = new Teller();
    teller.tell(notice('a'));
    expect(teller.tell(notice('a', 'another sentence'))).toEqual(['create a']);
  });

  test('is forgotten when nobody speaks of it any more', () => {
    const teller = new Teller();
    teller.tell(notice('a'));
    teller.nowMs = REFRESH_MS + 1;
    teller.tell();
    expect(teller.tell(notice('a'))).toEqual(['create a']);
  });

  test('and failed to be written is tried again', () => {
    const { memory } = new Teller();
    expect(memory.decide([notice('a')], 0).decisions).toHaveLength(1);
    expect(memory.decide([notice('a')], 0).decisions).toHaveLength(1);
  });
});

describe('room', () => {
  test('ten at once about one object, then one a minute; who waits is counted once', () => {
    const teller = new Teller();
    const many = Array.from({ length: 13 }, (_, i) => notice('a', `sentence ${i}`));
    const created = (count: number) => Array.from({ length: count }, () => 'create a');
    expect(teller.tell(...many)).toEqual([...created(10), '3 dropped']);
    expect(teller.tell(...many)).toEqual([]);
    teller.nowMs = MINUTE_MS;
    expect(teller.tell(...many)).toEqual(created(1));
    teller.nowMs = 3 * MINUTE_MS;
    expect(teller.tell(...many)).toEqual(created(2));
  });

  test('a hundred at once in all, then five a second, the first ones first', () => {
    const teller = new Teller();
    const many = Array.from({ length: 150 }, (_, i) => notice(`i${i}`));
    const first = teller.tell(...many);
    expect(first).toHaveLength(101);
    expect(first.at(0)).toBe('create i0');
    expect(first.at(-1)).toBe('50 dropped');
    teller.nowMs = 1000;
    expect(teller.tell(...many)).toEqual([100, 101, 102, 103, 104].map((i) => `create i${i}`));
  });
});

describe('names', () => {
  const memory = new EventMemory('causeway.dev/ingress-controller', 0);

  test('are the same for the same words about the same object, in every process', () => {
    const other = new EventMemory('causeway.dev/ingress-controller', 99);
    expect(other.nameOf(notice('a'))).toBe(memory.nameOf(notice('a')));
    expect(memory.nameOf({ ...notice('a'), uid: 'anew' })).not.toBe(memory.nameOf(notice('a')));
  });

  test('of two controllers differ', () => {
    const other = new EventMemory('acme.example/other', 0);
    expect(other.nameOf(notice('a'))).not.toBe(memory.nameOf(notice('a')));
  });

  test('are DNS names, whatever the object is called', () => {
    for (const name of ['a', 'x'.repeat(253), '(no name)', 'a.b.example', '-', '']) {
      expect(memory.nameOf(notice(name))).toMatch(
        /^[a-z0-9]([-a-z0-9]{0,198}[a-z0-9])?\.[0-9a-f]{20}$/,
      );
    }
  });
});
