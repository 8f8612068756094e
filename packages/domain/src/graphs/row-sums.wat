;; Sums of table rows by cluster, with SIMD instructions. scripts/assemble.mjs turns this file into
;; src/generated/row-sums.ts; graphs/row-sums.ts calls it.
;;
;; All parameters are offsets in the imported memory, bytes, except $clusters and $rowBytes. Rows are float32, a multiple
;; of 64 bytes long. Positions are sorted by cluster: $ends has the number of positions up to the end of each cluster
;; (int32), and $rowOf the row of each position (int32). $sums has one row of float64 per cluster.
;;
;; At most 128 positions are added up in registers before their sum is added to $sums. Short sums keep the rounding of
;; float32 small, and their rows stay in the processor's cache while the dimensions are visited 16 at a time.
(module
  (import "rows" "memory" (memory 0))

  ;; sums[cluster] += table[row]
  (func (export "addRows")
    (param $sums i32) (param $ends i32) (param $clusters i32) (param $rowBytes i32) (param $table i32) (param $rowOf i32)
    (local $place i32) (local $end i32) (local $stop i32) (local $i i32) (local $dim i32) (local $row i32)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (block $done
      (loop $cluster
        (br_if $done (i32.eqz (local.get $clusters)))
        (local.set $end (i32.shl (i32.load (local.get $ends)) (i32.const 2)))
        (loop $chunk
          (local.set $stop (i32.add (local.get $place) (i32.const 512)))
          (local.set $stop
            (select (local.get $stop) (local.get $end) (i32.lt_u (local.get $stop) (local.get $end))))
          (local.set $dim (i32.const 0))
          (loop $dims
            (local.set $a (v128.const i32x4 0 0 0 0))
            (local.set $b (v128.const i32x4 0 0 0 0))
            (local.set $c (v128.const i32x4 0 0 0 0))
            (local.set $d (v128.const i32x4 0 0 0 0))
            (local.set $i (local.get $place))
            (loop $positions
              (local.set $row
                (i32.add
                  (i32.add (local.get $table) (local.get $dim))
                  (i32.mul (i32.load (i32.add (local.get $rowOf) (local.get $i))) (local.get $rowBytes))))
              (local.set $a (f32x4.add (local.get $a) (v128.load (local.get $row))))
              (local.set $b (f32x4.add (local.get $b) (v128.load offset=16 (local.get $row))))
              (local.set $c (f32x4.add (local.get $c) (v128.load offset=32 (local.get $row))))
              (local.set $d (f32x4.add (local.get $d) (v128.load offset=48 (local.get $row))))
              (local.set $i (i32.add (local.get $i) (i32.const 4)))
              (br_if $positions (i32.lt_u (local.get $i) (local.get $stop))))
            (call $addTo (i32.add (local.get $sums) (i32.shl (local.get $dim) (i32.const 1)))
              (local.get $a) (local.get $b) (local.get $c) (local.get $d))
            (local.set $dim (i32.add (local.get $dim) (i32.const 64)))
            (br_if $dims (i32.lt_u (local.get $dim) (local.get $rowBytes))))
          (local.set $place (local.get $stop))
          (br_if $chunk (i32.lt_u (local.get $place) (local.get $end))))
        (local.set $sums (i32.add (local.get $sums) (i32.shl (local.get $rowBytes) (i32.const 1))))
        (local.set $ends (i32.add (local.get $ends) (i32.const 4)))
        (local.set $clusters (i32.sub (local.get $clusters) (i32.const 1)))
        (br $cluster))))

  ;; sums[cluster] += table[row] * (1 + scales[scaleRow])
  (func (export "addScaledRows")
    (param $sums i32) (param $ends i32) (param $clusters i32) (param $rowBytes i32) (param $table i32) (param $rowOf i32)
    (param $scales i32) (param $scaleRowOf i32)
    (local $place i32) (local $end i32) (local $stop i32) (local $i i32) (local $dim i32) (local $row i32)
    (local $scale i32) (local $one v128)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local.set $one (v128.const f32x4 1 1 1 1))
    (block $done
      (loop $cluster
        (br_if $done (i32.eqz (local.get $clusters)))
        (local.set $end (i32.shl (i32.load (local.get $ends)) (i32.const 2)))
        (loop $chunk
          (local.set $stop (i32.add (local.get $place) (i32.const 512)))
          (local.set $stop
            (select (local.get $stop) (local.get $end) (i32.lt_u (local.get $stop) (local.get $end))))
          (local.set $dim (i32.const 0))
          (loop $dims
            (local.set $a (v128.const i32x4 0 0 0 0))
            (local.set $b (v128.const i32x4 0 0 0 0))
            (local.set $c (v128.const i32x4 0 0 0 0))
            (local.set $d (v128.const i32x4 0 0 0 0))
            (local.set $i (local.get $place))
            (loop $positions
              (local.set $row
                (i32.add
                  (i32.add (local.get $table) (local.get $dim))
                  (i32.mul (i32.load (i32.add (local.get $rowOf) (local.get $i))) (local.get $rowBytes))))
              (local.set $scale
                (i32.add
                  (i32.add (local.get $scales) (local.get $dim))
                  (i32.mul (i32.load (i32.add (local.get $scaleRowOf) (local.get $i))) (local.get $rowBytes))))
              (local.set $a (f32x4.add (local.get $a) (f32x4.mul (v128.load (local.get $row))
                (f32x4.add (local.get $one) (v128.load (local.get $scale))))))
              (local.set $b (f32x4.add (local.get $b) (f32x4.mul (v128.load offset=16 (local.get $row))
                (f32x4.add (local.get $one) (v128.load offset=16 (local.get $scale))))))
              (local.set $c (f32x4.add (local.get $c) (f32x4.mul (v128.load offset=32 (local.get $row))
                (f32x4.add (local.get $one) (v128.load offset=32 (local.get $scale))))))
              (local.set $d (f32x4.add (local.get $d) (f32x4.mul (v128.load offset=48 (local.get $row))
                (f32x4.add (local.get $one) (v128.load offset=48 (local.get $scale))))))
              (local.set $i (i32.add (local.get $i) (i32.const 4)))
              (br_if $positions (i32.lt_u (local.get $i) (local.get $stop))))
            (call $addTo (i32.add (local.get $sums) (i32.shl (local.get $dim) (i32.const 1)))
              (local.get $a) (local.get $b) (local.get $c) (local.get $d))
            (local.set $dim (i32.add (local.get $dim) (i32.const 64)))
            (br_if $dims (i32.lt_u (local.get $dim) (local.get $rowBytes))))
          (local.set $place (local.get $stop))
          (br_if $chunk (i32.lt_u (local.get $place) (local.get $end))))
        (local.set $sums (i32.add (local.get $sums) (i32.shl (local.get $rowBytes) (i32.const 1))))
        (local.set $ends (i32.add (local.get $ends) (i32.const 4)))
        (local.set $clusters (i32.sub (local.get $clusters) (i32.const 1)))
        (br $cluster))))

  ;; Adds 16 numbers to 16 sums. One function, since calls of another for each vector took a third of its time.
  (func $addTo (param $to i32) (param $a v128) (param $b v128) (param $c v128) (param $d v128)
    (v128.store (local.get $to)
      (f64x2.add (v128.load (local.get $to)) (f64x2.promote_low_f32x4 (local.get $a))))
    (v128.store offset=16 (local.get $to)
      (f64x2.add (v128.load offset=16 (local.get $to))
        (f64x2.promote_low_f32x4
          (i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 (local.get $a) (local.get $a)))))
    (v128.store offset=32 (local.get $to)
      (f64x2.add (v128.load offset=32 (local.get $to)) (f64x2.promote_low_f32x4 (local.get $b))))
    (v128.store offset=48 (local.get $to)
      (f64x2.add (v128.load offset=48 (local.get $to))
        (f64x2.promote_low_f32x4
          (i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 (local.get $b) (local.get $b)))))
    (v128.store offset=64 (local.get $to)
      (f64x2.add (v128.load offset=64 (local.get $to)) (f64x2.promote_low_f32x4 (local.get $c))))
    (v128.store offset=80 (local.get $to)
      (f64x2.add (v128.load offset=80 (local.get $to))
        (f64x2.promote_low_f32x4
          (i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 (local.get $c) (local.get $c)))))
    (v128.store offset=96 (local.get $to)
      (f64x2.add (v128.load offset=96 (local.get $to)) (f64x2.promote_low_f32x4 (local.get $d))))
    (v128.store offset=112 (local.get $to)
      (f64x2.add (v128.load offset=112 (local.get $to))
        (f64x2.promote_low_f32x4
          (i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 (local.get $d) (local.get $d))))))

  ;; Divides the sums of each cluster by its number of positions. The means, float32, take the place of the first half
  ;; of the sums. A mean never replaces a sum that is still to be read, since it is half as long.
  (func (export "divideSums") (param $sums i32) (param $ends i32) (param $clusters i32) (param $rowBytes i32)
    (local $to i32) (local $rowEnd i32) (local $start i32) (local $end i32) (local $inverse v128)
    (local.set $to (local.get $sums))
    (block $done
      (loop $cluster
        (br_if $done (i32.eqz (local.get $clusters)))
        (local.set $end (i32.load (local.get $ends)))
        (local.set $inverse
          (f64x2.splat
            (f64.div (f64.const 1) (f64.convert_i32_u (i32.sub (local.get $end) (local.get $start))))))
        (local.set $start (local.get $end))
        (local.set $rowEnd (i32.add (local.get $to) (local.get $rowBytes)))
        (loop $dims
          (v128.store (local.get $to)
            (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
              (f32x4.demote_f64x2_zero (f64x2.mul (v128.load (local.get $sums)) (local.get $inverse)))
              (f32x4.demote_f64x2_zero (f64x2.mul (v128.load offset=16 (local.get $sums)) (local.get $inverse)))))
          (local.set $to (i32.add (local.get $to) (i32.const 16)))
          (local.set $sums (i32.add (local.get $sums) (i32.const 32)))
          (br_if $dims (i32.lt_u (local.get $to) (local.get $rowEnd))))
        (local.set $ends (i32.add (local.get $ends) (i32.const 4)))
        (local.set $clusters (i32.sub (local.get $clusters) (i32.const 1)))
        (br $cluster)))))
